//! The shortest client in Rust, on the contracts alone.
//!
//! ```sh
//! cargo run -p bulkhead-client-example -- http://127.0.0.1:7102 bulkhead-data/tokens/agent
//! ```
#![expect(clippy::print_stdout, reason = "an example tells whoever runs it")]

// README: begin
use std::error::Error;
use std::time::Duration;

use bulkhead_proto::tools::v1::tool_executor_service_client::ToolExecutorServiceClient;
use bulkhead_proto::tools::v1::{ExecuteToolCallRequest, ToolCall};
use tonic::Request;
use tonic::transport::Endpoint;
use uuid::Uuid;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(endpoint), Some(token_file)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bulkhead-client-example ENDPOINT TOKEN_FILE".into());
    };
    let token = std::fs::read_to_string(token_file)?;
    let channel = Endpoint::from_shared(endpoint)?.connect().await?;
    let mut executor = ToolExecutorServiceClient::new(channel);

    let mut request = Request::new(ExecuteToolCallRequest {
        // The same id again acts once and tells what became of it: keep it for a retry.
        request_id: Uuid::new_v4().to_string(),
        call: Some(ToolCall { tool: "fs.list".into(), arguments_json: r#"{"path":"."}"#.into() }),
        ..Default::default()
    });
    request.metadata_mut().insert("authorization", format!("Bearer {}", token.trim()).parse()?);
    request.set_timeout(Duration::from_secs(20));

    let execution = executor.execute_tool_call(request).await?.into_inner().execution.unwrap_or_default();
    println!("{}: {}", execution.state().as_str_name(), execution.result.unwrap_or_default().content);
    Ok(())
}
// README: end
