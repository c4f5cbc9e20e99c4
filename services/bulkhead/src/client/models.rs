//! `bulkhead models`: which there are, and which would be asked.

mod explain;

use std::process::ExitCode;

use bulkhead_edge::peer::Peer;
use bulkhead_proto::router::v1::model_router_service_client::ModelRouterServiceClient;
use bulkhead_proto::router::v1::{ListModelsRequest, ListModelsResponse, Model};
use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::table::Table;
use super::{Client, ClientArguments, ClientError, Exit, Limit, exit, run, time};
use crate::serve::Service;
use explain::ExplainArguments;

/// See the help of each.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// List the configured models and their health.
    ///
    /// Example: bulkhead models ls
    #[command(after_long_help = exit::HELP)]
    Ls(Box<LsArguments>),
    /// Say which models a request would go to now, and why not to the others. Calls none.
    ///
    /// With a text it looks at the request itself: how long it is, and which models can express it. Exits 1 when no
    /// model would be asked.
    ///
    /// Example: bulkhead models explain --text "Sum up my bill." --sensitivity financial
    #[command(after_long_help = exit::HELP)]
    Explain(Box<ExplainArguments>),
}

/// Arguments of `bulkhead models ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArguments {
    #[command(flatten)]
    limit: Limit,
    #[command(flatten)]
    client: ClientArguments,
}

impl ModelsCommand {
    /// Does what was asked.
    pub(crate) fn run(self) -> ExitCode {
        match self {
            Self::Ls(arguments) => {
                let LsArguments { client, limit } = *arguments;
                run(client, async |client| list(client, limit).await)
            }
            Self::Explain(arguments) => arguments.run(),
        }
    }
}

pub(super) fn connect(client: &Client) -> Result<ModelRouterServiceClient<Peer>, ClientError> {
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
