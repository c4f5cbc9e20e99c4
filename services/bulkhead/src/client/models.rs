//! `bulkhead models`: which there are, and which would be asked.

use std::process::ExitCode;

use bulkhead_edge::peer::Peer;
use bulkhead_proto::router::v1::model_router_service_client::ModelRouterServiceClient;
use bulkhead_proto::router::v1::{
    ExplainRouteRequest, ExplainRouteResponse, ListModelsRequest, ListModelsResponse, Model,
};
use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::table::{Table, fields};
use super::tools::ContextArguments;
use super::{Client, ClientArguments, ClientError, Exit, Limit, exit, run, text, time};
use crate::serve::Service;

/// See the help of each.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// List the configured models and their health.
    ///
    /// Example: bulkhead models ls
    #[command(after_long_help = exit::HELP)]
    Ls(LsArguments),
    /// Say which models a request would go to now, and why not to the others. Calls none.
    ///
    /// Exits 1 when no model would be asked.
    ///
    /// Example: bulkhead models explain --sensitivity credentials
    #[command(after_long_help = exit::HELP)]
    Explain(ExplainArguments),
}

/// Arguments of `bulkhead models ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArguments {
    #[command(flatten)]
    limit: Limit,
    #[command(flatten)]
    client: ClientArguments,
}

/// Arguments of `bulkhead models explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// Name of the route.
    #[arg(long, value_name = "ROUTE", default_value = "default")]
    route: String,
    #[command(flatten)]
    context: ContextArguments,
    #[command(flatten)]
    client: ClientArguments,
}

impl ModelsCommand {
    /// Does what was asked.
    pub(crate) fn run(self) -> ExitCode {
        match self {
            Self::Ls(arguments) => run(arguments.client, async |client| list(client, arguments.limit).await),
            Self::Explain(arguments) => run(arguments.client, async |client| {
                explain(client, arguments.route, &arguments.context).await
            }),
        }
    }
}

fn connect(client: &Client) -> Result<ModelRouterServiceClient<Peer>, ClientError> {
    Ok(ModelRouterServiceClient::new(client.connect(Service::ModelRouter, "operator")?))
}

async fn list(client: &Client, limit: Limit) -> Result<Exit, ClientError> {
    let router = connect(client)?;
    let page = async |page_size, page_token| {
        let request = client.timed(ListModelsRequest { page_size, page_token });
        let answer = client.read("list models", router.clone().list_models(request)).await?;
        Ok((answer.models, answer.next_page_token))
    };
    let (models, next_page_token) = limit.collect(page).await?;
    let all = ListModelsResponse { models, next_page_token };
    client.show(&all, || table(&all.models, client.now).render(client.output.columns()))?;
    limit.remark(client, all.models.len(), &all.next_page_token);
    Ok(Exit::Done)
}

async fn explain(client: &Client, route: String, context: &ContextArguments) -> Result<Exit, ClientError> {
    let mut router = connect(client)?;
    let request = client.timed(ExplainRouteRequest {
        route,
        context: Some(context.wire(true)),
        ..ExplainRouteRequest::default()
    });
    let answer = client.read("explain the route", router.explain_route(request)).await?;
    client.show(&answer, || explanation(&answer))?;
    Ok(if answer.planned.is_empty() { Exit::Failed } else { Exit::Done })
}

fn place(local: bool) -> &'static str {
    if local { "local" } else { "cloud" }
}

fn table(models: &[Model], now: Timestamp) -> Table<6> {
    let mut table = Table::new(["MODEL", "PROVIDER", "PROVIDER'S NAME", "RUNS", "USABLE", "ROUTES"]);
    for model in models {
        let usable = match (model.usable, time::of_wire(model.retry_time.as_ref())) {
            (true, _) => "yes".to_owned(),
            (false, None) => format!("no: {}", model.unusable_reason),
            (false, Some(retry)) => {
                format!("no: {}; again {}", model.unusable_reason, time::relative(retry, now))
            }
        };
        table.row([
            model.name.clone(),
            model.provider.clone(),
            model.provider_model.clone(),
            place(model.local).to_owned(),
            usable,
            model.routes.join(", "),
        ]);
    }
    table
}

fn explanation(answer: &ExplainRouteResponse) -> String {
    let may = if answer.local_only { "only local models may see it" } else { "any model may see it" };
    let mut lines = fields(&[("request", may.to_owned())]);
    for reason in &answer.reasons {
        lines += &format!("  because {}\n", text::harmless(reason));
    }
    lines +=
        if answer.planned.is_empty() { "No model would be asked.\n" } else { "Would be asked, in order:\n" };
    for (index, model) in answer.planned.iter().enumerate() {
        lines += &format!(
            "  {}. {} ({}, at most {} attempts)\n",
            index + 1,
            text::harmless(&model.model),
            place(model.local),
            model.attempts_max
        );
    }
    for model in &answer.excluded {
        lines += &format!(
            "  not {}: {} ({})\n",
            text::harmless(&model.model),
            text::harmless(&model.detail),
            text::harmless(&model.reason)
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use bulkhead_proto::router::v1::{ExcludedModel, PlannedModel};

    use super::*;

    #[test]
    fn an_explanation_names_every_model_of_the_route() {
        let answer = ExplainRouteResponse {
            local_only: true,
            reasons: vec!["the caller says: credentials".into()],
            planned: vec![PlannedModel {
                model: "local".into(),
                local: true,
                attempts_max: 3,
                ..PlannedModel::default()
            }],
            excluded: vec![ExcludedModel {
                model: "primary".into(),
                reason: "NOT_LOCAL".into(),
                detail: "it is not marked local".into(),
                ..ExcludedModel::default()
            }],
            ..ExplainRouteResponse::default()
        };
        let expected = "\
request  only local models may see it
  because the caller says: credentials
Would be asked, in order:
  1. local (local, at most 3 attempts)
  not primary: it is not marked local (NOT_LOCAL)
";
        assert_eq!(anstream::adapter::strip_str(&explanation(&answer)).to_string(), expected);
    }
}
