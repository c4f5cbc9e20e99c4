//! An OTLP collector that keeps what it is sent.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};

/// As other collectors send.
const GZIP: CompressionEncoding = CompressionEncoding::Gzip;

/// Keeps everything, with the service that sent it, or takes nothing.
#[derive(Debug, Clone, Default)]
pub struct Collector {
    kept: Arc<Mutex<Kept>>,
    refuses: bool,
}

/// What was sent so far, each with the `service.name` of its sender.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// Spans.
    pub spans: Vec<(String, Span)>,
    /// Log records.
    pub logs: Vec<Logged>,
    /// Names of metrics.
    pub metrics: BTreeSet<(String, String)>,
    /// Exports, refused ones included.
    pub exports: usize,
}

/// A log record, and where it comes from.
#[derive(Debug, Clone)]
pub struct Logged {
    /// The `service.name` of its sender.
    pub service: String,
    /// The module that speaks, which OTLP carries as the scope.
    pub target: String,
    /// What it says.
    pub record: LogRecord,
}

impl Collector {
    /// One that takes everything, and its endpoint.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> anyhow::Result<(Self, String)> {
        Self::serve(false).await
    }

    /// One that answers UNAVAILABLE to everything, and its endpoint.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn refusing() -> anyhow::Result<(Self, String)> {
        Self::serve(true).await
    }

    async fn serve(refuses: bool) -> anyhow::Result<(Self, String)> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let collector = Self { refuses, ..Self::default() };
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(collector.clone()).accept_compressed(GZIP))
            .add_service(MetricsServiceServer::new(collector.clone()).accept_compressed(GZIP))
            .add_service(LogsServiceServer::new(collector.clone()).accept_compressed(GZIP));
        #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Ok((collector, endpoint))
    }

    /// What was sent so far.
    #[must_use]
    pub fn kept(&self) -> Kept {
        self.lock().clone()
    }

    /// The spans of one trace.
    #[must_use]
    pub fn spans_of(&self, trace_id: &str) -> Vec<(String, Span)> {
        let kept = self.lock();
        kept.spans.iter().filter(|(_, span)| hex(&span.trace_id) == trace_id).cloned().collect()
    }

    fn receive(&self) -> Result<MutexGuard<'_, Kept>, Status> {
        let mut kept = self.lock();
        kept.exports += 1;
        if self.refuses { Err(Status::unavailable("this collector takes nothing")) } else { Ok(kept) }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lower-case hexadecimal, as ids are written.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn service_name(resource: Option<Resource>) -> String {
    let attributes = resource.map(|resource| resource.attributes).unwrap_or_default();
    let name = attributes.into_iter().find(|attribute| attribute.key == "service.name");
    match name.and_then(|name| name.value).and_then(|value| value.value) {
        Some(Value::StringValue(name)) => name,
        _ => String::new(),
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut kept = self.receive()?;
        for resource in request.into_inner().resource_spans {
            let name = service_name(resource.resource);
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            kept.spans.extend(spans.map(|span| (name.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let mut kept = self.receive()?;
        for resource in request.into_inner().resource_metrics {
            let name = service_name(resource.resource);
            let metrics = resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
            kept.metrics.extend(metrics.map(|metric| (name.clone(), metric.name)));
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Collector {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let mut kept = self.receive()?;
        for resource in request.into_inner().resource_logs {
            let service = service_name(resource.resource);
            for scope in resource.scope_logs {
                let target = scope.scope.map(|scope| scope.name).unwrap_or_default();
                let logged = |record| Logged { service: service.clone(), target: target.clone(), record };
                kept.logs.extend(scope.log_records.into_iter().map(logged));
            }
        }
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}
