//! Which models a request would go to, and why not to the others.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bulkhead_proto::router::v1::{
    ExcludedModel, ExplainRouteRequest, ExplainRouteResponse, GenerateLimits, GenerateRequest, PlannedModel,
    ResponseFormat, ResponseFormatKind,
};
use clap::Args;

use super::{connect, place};
use crate::client::chat::{spoken, text_or_input};
use crate::client::table::fields;
use crate::client::tools::ContextArguments;
use crate::client::{Client, ClientArguments, ClientError, Exit, run, text, time};

/// What a provider is told that a schema is called.
const SCHEMA_NAME: &str = "answer";

/// Arguments of `bulkhead models explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// Name of the route.
    #[arg(long, value_name = "ROUTE", default_value = "default")]
    route: String,
    #[command(flatten)]
    content: ContentArguments,
    #[command(flatten)]
    context: ContextArguments,
    #[command(flatten)]
    client: ClientArguments,
}

/// What the request would say and ask for.
#[derive(Debug, Args)]
struct ContentArguments {
    /// What would be said; `-` reads all of standard input. It goes to the router and no further.
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Instructions that would stand before it.
    #[arg(long, value_name = "TEXT", requires = "text")]
    system: Option<String>,
    /// The longest answer that would be asked for.
    #[arg(long, value_name = "TOKENS", requires = "text", value_parser = clap::value_parser!(u32).range(1..))]
    max_output_tokens: Option<u32>,
    /// How much the model might think.
    #[arg(long, value_name = "TOKENS", requires = "text", value_parser = clap::value_parser!(u32).range(1..))]
    thinking_tokens_max: Option<u32>,
    /// A seed, which not every model takes.
    #[arg(long, value_name = "NUMBER", requires = "text")]
    seed: Option<u64>,
    /// What all attempts together might cost, in millionths of a US dollar.
    #[arg(long, value_name = "AMOUNT", requires = "text", value_parser = clap::value_parser!(u64).range(1..))]
    cost_usd_micros_max: Option<u64>,
    /// A file with the JSON Schema of the answer.
    #[arg(long, value_name = "FILE", requires = "text")]
    json_schema: Option<PathBuf>,
}

impl ContentArguments {
    /// The request without its route and context; none where nothing would be said.
    fn read(self) -> Result<Option<GenerateRequest>, ClientError> {
        let Some(text) = self.text else { return Ok(None) };
        Ok(Some(GenerateRequest {
            system: self.system.unwrap_or_default(),
            messages: vec![spoken(text_or_input(text)?)],
            max_output_tokens: self.max_output_tokens.unwrap_or(0),
            thinking_tokens_max: self.thinking_tokens_max.unwrap_or(0),
            seed: self.seed,
            limits: self.cost_usd_micros_max.map(|cost_usd_micros_max| GenerateLimits {
                cost_usd_micros_max,
                ..GenerateLimits::default()
            }),
            response_format: self.json_schema.as_deref().map(schema).transpose()?,
            ..GenerateRequest::default()
        }))
    }
}

fn schema(path: &Path) -> Result<ResponseFormat, ClientError> {
    let schema_json = std::fs::read_to_string(path)
        .map_err(|error| ClientError::Usage(format!("cannot read {}: {error}", path.display())))?;
    let kind = ResponseFormatKind::JsonSchema.into();
    Ok(ResponseFormat { kind, name: SCHEMA_NAME.to_owned(), schema_json, ..ResponseFormat::default() })
}

impl ExplainArguments {
    pub(super) fn run(self) -> ExitCode {
        run(self.client, async |client| {
            let context = Some(self.context.wire(true));
            let request = match self.content.read()? {
                None => ExplainRouteRequest { route: self.route, context, ..ExplainRouteRequest::default() },
                Some(generate) => {
                    let generate = Some(GenerateRequest { route: self.route, context, ..generate });
                    ExplainRouteRequest { generate, ..ExplainRouteRequest::default() }
                }
            };
            explain(client, request).await
        })
    }
}

async fn explain(client: &Client, request: ExplainRouteRequest) -> Result<Exit, ClientError> {
    let mut router = connect(client)?;
    let call = router.explain_route(client.timed(request));
    let answer = client.read("explain the route", call).await?;
    client.show(&answer, || explanation(&answer))?;
    Ok(if answer.planned.is_empty() { Exit::Failed } else { Exit::Done })
}

fn explanation(answer: &ExplainRouteResponse) -> String {
    let may = if answer.local_only { "only local models may see it" } else { "any model may see it" };
    let prompt = match answer.input_tokens {
        0 => String::new(),
        tokens => format!("{tokens} tokens, by estimate"),
    };
    let mut lines = fields(&[("request", may.to_owned()), ("prompt", prompt)]);
    for reason in &answer.reasons {
        lines += &format!("  because {}\n", text::harmless(reason));
    }
    lines +=
        if answer.planned.is_empty() { "No model would be asked.\n" } else { "Would be asked, in order:\n" };
    for (index, model) in answer.planned.iter().enumerate() {
        lines += &format!("  {}. {}\n", index + 1, planned(model));
    }
    for model in &answer.excluded {
        lines += &format!("  not {}\n", excluded(model));
    }
    lines
}

fn planned(model: &PlannedModel) -> String {
    let wait = model.wait.filter(|wait| wait.seconds > 0 || wait.nanos > 0);
    let wait = wait.map_or_else(String::new, |wait| format!(", after {}", time::span(Some(&wait))));
    let (name, place) = (text::harmless(&model.model), place(model.local));
    format!("{name} ({place}, at most {} attempts{wait})", model.attempts_max)
}

fn excluded(model: &ExcludedModel) -> String {
    let again = model.retry_after.as_ref();
    let again = again.map_or_else(String::new, |after| format!("; again in {}", time::span(Some(after))));
    let (name, detail) = (text::harmless(&model.model), text::harmless(&model.detail));
    format!("{name}: {detail} ({}){again}", text::harmless(&model.reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_names_every_model_of_the_route() {
        let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let model =
            |model: &str, local, wait| PlannedModel { model: model.into(), local, attempts_max: 3, wait };
        let left_out = |model: &str, reason: &str, detail: &str, retry_after| ExcludedModel {
            model: model.into(),
            reason: reason.into(),
            detail: detail.into(),
            retry_after,
        };
        let answer = ExplainRouteResponse {
            local_only: true,
            reasons: vec!["the caller says: credentials".into()],
            planned: vec![model("local", true, seconds(0)), model("spare", true, seconds(2))],
            excluded: vec![
                left_out("primary", "NOT_LOCAL", "it is not marked local", None),
                left_out("other", "MARKED_UNUSABLE", "its key is refused", seconds(30)),
            ],
            input_tokens: 12,
            ..ExplainRouteResponse::default()
        };
        let expected = "\
request  only local models may see it
prompt   12 tokens, by estimate
  because the caller says: credentials
Would be asked, in order:
  1. local (local, at most 3 attempts)
  2. spare (local, at most 3 attempts, after 2.0 s)
  not primary: it is not marked local (NOT_LOCAL)
  not other: its key is refused (MARKED_UNUSABLE); again in 30.0 s
";
        assert_eq!(anstream::adapter::strip_str(&explanation(&answer)).to_string(), expected);
    }
}
