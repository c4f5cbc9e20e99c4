//! `docker-compose.yml` and the files that it mounts, as they stand: they agree with each other, with the Dockerfile
//! and with the documents. What runs of them on an engine, `tests/containers/run` proves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page(name: &str) -> anyhow::Result<String> {
    fs::read_to_string(root().join(name)).with_context(|| name.to_owned())
}

/// A file of YAML with its anchors and merges applied.
fn yaml(name: &str) -> anyhow::Result<Value> {
    let mut value: yaml_serde::Value = yaml_serde::from_str(&page(name)?).with_context(|| name.to_owned())?;
    value.apply_merge().with_context(|| name.to_owned())?;
    serde_json::to_value(value).with_context(|| name.to_owned())
}

fn compose() -> anyhow::Result<Value> {
    yaml("docker-compose.yml")
}

fn entries<'a>(value: &'a Value, key: &str) -> anyhow::Result<BTreeMap<&'a str, &'a Value>> {
    let map = value[key].as_object().with_context(|| format!("{key} is no map"))?;
    Ok(map.iter().map(|(name, value)| (name.as_str(), value)).collect())
}

fn texts<'a>(value: &'a Value, key: &str) -> Vec<&'a str> {
    value[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The port that each image of the Dockerfile listens on, by its target.
fn exposed() -> anyhow::Result<BTreeMap<String, String>> {
    let (mut ports, mut target) = (BTreeMap::new(), String::new());
    for line in page("deploy/Dockerfile")?.lines() {
        if let Some((_, name)) = line.split_once(" AS ") {
            name.clone_into(&mut target);
        } else if let Some(port) = line.strip_prefix("EXPOSE ") {
            ports.insert(target.clone(), port.to_owned());
        }
    }
    assert_eq!(ports.len(), 4, "{ports:?}");
    Ok(ports)
}

/// Whether something of a service's definition names the port as its own: what it publishes, asks itself or sets.
fn has_port(service: &Value, port: &str) -> bool {
    let own = [&service["ports"], &service["healthcheck"], &service["environment"], &service["command"]];
    own.iter().any(|part| part.to_string().contains(&format!(":{port}")))
}

/// Host and port of a URL, or of a bare `HOST:PORT`.
fn host_and_port(url: &str) -> anyhow::Result<(&str, &str)> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.rsplit_once(':').with_context(|| format!("{url} has no port"))
}

fn files(folder: &str, ending: &str) -> anyhow::Result<Vec<String>> {
    let (mut open, mut found) = (vec![root().join(folder)], Vec::new());
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == ending) {
                found.push(path.strip_prefix(root())?.display().to_string());
            }
        }
    }
    Ok(found)
}

#[test]
fn every_file_that_is_mounted_is_there_and_can_be_read() -> anyhow::Result<()> {
    let read = files("deploy", "yaml")?.into_iter().chain(files("deploy", "yml")?);
    assert!(read.map(|name| yaml(&name).map(drop)).collect::<anyhow::Result<Vec<()>>>()?.len() >= 4);
    for name in files("deploy", "json")? {
        serde_json::from_str::<Value>(&page(&name)?).with_context(|| name.clone())?;
    }
    let stack = compose()?;
    for (service, definition) in entries(&stack, "services")? {
        for volume in texts(definition, "volumes") {
            let source = volume.split(':').next().unwrap_or_default();
            let named = stack["volumes"].get(source).is_some() || source.starts_with("${");
            assert!(
                named || (source.starts_with("./") && root().join(source).exists()),
                "{service}: {volume}"
            );
        }
    }
    Ok(())
}

#[test]
fn only_what_must_reach_models_or_be_reached_has_a_way_out() -> anyhow::Result<()> {
    let stack = compose()?;
    assert_eq!(stack["networks"]["services"]["internal"], true);
    let outside = entries(&stack, "services")?;
    let outside = outside.into_iter().filter(|(_, service)| texts(service, "networks").contains(&"outside"));
    let outside: BTreeSet<_> = outside.map(|(name, _)| name).collect();
    assert_eq!(outside, ["door", "grafana", "jaeger", "model-router"].into());
    for (name, service) in entries(&stack, "services")? {
        let publishes = texts(service, "ports");
        assert!(publishes.is_empty() || outside.contains(name), "{name} cannot be reached");
        assert!(publishes.iter().all(|port| port.starts_with("127.0.0.1:")), "{name}: {publishes:?}");
    }
    Ok(())
}

#[test]
fn the_door_leads_to_every_service_where_it_listens() -> anyhow::Result<()> {
    let stack = compose()?;
    let door = &stack["services"]["door"];
    let ways: BTreeMap<_, _> = texts(door, "command")
        .into_iter()
        .filter_map(|way| way.split_once('='))
        .filter_map(|(listen, service)| Some((service.split_once(':')?, listen.rsplit_once(':')?.1)))
        .map(|((service, port), listen)| (service.to_owned(), (port.to_owned(), listen.to_owned())))
        .collect();
    let exposed = exposed()?;
    for (service, port) in &exposed {
        assert_eq!(ways.get(service), Some(&(port.clone(), port.clone())), "{service}");
        let published = texts(door, "ports").into_iter().filter(|text| text.ends_with(&format!(":{port}")));
        assert_eq!(published.count(), 1, "{service} is not published once");
        let endpoint = format!("{service}=https://{service}:{port}");
        let client = stack["services"]["client"]["environment"]["BULKHEAD_ENDPOINT"].as_str();
        assert!(
            client.is_some_and(|all| all.split(',').any(|one| one == endpoint)),
            "{endpoint}: {client:?}"
        );
    }
    assert_eq!(ways.len(), exposed.len());
    Ok(())
}

#[test]
fn prometheus_asks_each_service_where_it_listens() -> anyhow::Result<()> {
    let config = yaml("deploy/compose/prometheus.yml")?;
    let mut asked = BTreeMap::new();
    for job in config["scrape_configs"].as_array().context("no jobs")? {
        let name = job["job_name"].as_str().context("a job without a name")?;
        let found = &job["dns_sd_configs"][0];
        assert_eq!(texts(found, "names"), [name]);
        asked.insert(name.to_owned(), found["port"].to_string());
    }
    assert_eq!(asked, exposed()?);
    Ok(())
}

#[test]
fn what_one_part_calls_of_another_is_there() -> anyhow::Result<()> {
    let stack = compose()?;
    let sources = yaml("deploy/grafana/provisioning/datasources/sources.yaml")?;
    let sources = sources["datasources"].as_array().context("no sources")?;
    let mut called: Vec<_> = sources.iter().filter_map(|source| source["url"].as_str()).collect();
    let collector = &stack["services"]["otel-collector"];
    called.extend(collector["environment"]["TRACES_ENDPOINT"].as_str());
    assert_eq!(called.len(), 3, "{called:?}");
    for url in called {
        let (host, port) = host_and_port(url)?;
        let service = stack["services"].get(host).with_context(|| format!("{url}: there is no {host}"))?;
        assert!(has_port(service, port), "{url}: {host} does not listen there");
    }
    let laid_over = yaml("deploy/compose/otel-collector.yaml")?;
    let takes = laid_over["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].as_str();
    assert!(page("docs/operations.md")?.contains("`http://otel-collector:4317`"));
    assert_eq!(takes, Some("0.0.0.0:4317"));
    Ok(())
}

#[test]
fn every_part_of_a_pipeline_is_configured() -> anyhow::Result<()> {
    let [own, laid_over] = ["deploy/otel-collector.yaml", "deploy/compose/otel-collector.yaml"].map(yaml);
    let (own, laid_over) = (own?, laid_over?);
    for file in [&own, &laid_over] {
        for (signal, pipeline) in entries(&file["service"], "pipelines")? {
            for kind in ["receivers", "processors", "exporters"] {
                for part in texts(pipeline, kind) {
                    let configured = [&own, &laid_over].iter().any(|file| file[kind].get(part).is_some());
                    assert!(configured, "{signal}: no {kind} are called {part}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn dashboards_are_provisioned_and_ask_for_metrics_that_there_are() -> anyhow::Result<()> {
    let documented = page("docs/metrics.md")?;
    let provider = yaml("deploy/grafana/provisioning/dashboards/dashboards.yaml")?;
    let shown = provider["providers"][0]["options"]["path"].as_str().context("no path")?;
    let mounted = format!("./deploy/grafana/dashboards:{shown}:ro");
    assert!(texts(&compose()?["services"]["grafana"], "volumes").contains(&mounted.as_str()), "{mounted}");
    let sources = yaml("deploy/grafana/provisioning/datasources/sources.yaml")?;
    let sources = sources["datasources"].as_array().context("no sources")?;
    for name in files("deploy/grafana/dashboards", "json")? {
        let dashboard: Value = serde_json::from_str(&page(&name)?)?;
        let panels = dashboard["panels"].as_array().context("panels")?;
        assert!(panels.len() >= 10, "{name}: only {} panels", panels.len());
        for panel in panels {
            let source = &panel["datasource"]["uid"];
            assert!(sources.iter().any(|known| &known["uid"] == source), "{name}: {source}");
            for target in panel["targets"].as_array().context("targets")? {
                let query = target["expr"].as_str().context("a query")?;
                asks_for_what_there_is(query, &documented)?;
            }
        }
    }
    Ok(())
}

fn asks_for_what_there_is(query: &str, documented: &str) -> anyhow::Result<()> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let metrics = words.filter(|word| word.matches('_').count() > 1 && *word != "histogram_quantile");
    let mut found = 0;
    for metric in metrics {
        let base = ["_bucket", "_count", "_sum"].iter().find_map(|end| metric.strip_suffix(end));
        let base = base.unwrap_or(metric);
        anyhow::ensure!(
            documented.contains(&format!("| `{base}` |")),
            "{query}: {base} is not in docs/metrics.md"
        );
        found += 1;
    }
    anyhow::ensure!(found > 0, "{query} names no metric");
    Ok(())
}

#[test]
fn a_backup_leaves_out_no_volume() -> anyhow::Result<()> {
    let text = page("docs/operations.md")?;
    let saved =
        text.split("\nvolumes=\"").nth(1).and_then(|rest| rest.split('"').next()).context("no list")?;
    let saved: BTreeSet<_> = saved.split_whitespace().filter(|word| *word != "\\").collect();
    let stack = compose()?;
    // What these two hold is measured again.
    let rest = ["prometheus-data", "grafana-data"];
    let all = entries(&stack, "volumes")?;
    assert_eq!(saved, all.into_keys().filter(|name| !rest.contains(name)).collect());
    Ok(())
}

#[test]
fn what_runs_is_asked_for_its_health_where_it_can_be() -> anyhow::Result<()> {
    // Once, by a person, and without anything to ask with.
    let excused = ["init", "client", "otel-collector"];
    let asked_by_image = exposed()?;
    for (name, service) in entries(&compose()?, "services")? {
        let asked = asked_by_image.contains_key(name) || !service["healthcheck"]["test"].is_null();
        assert_eq!(asked, !excused.contains(&name), "{name}");
    }
    Ok(())
}
