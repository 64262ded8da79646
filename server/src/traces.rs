//! Traces over OTLP (HTTP, protobuf), if the configuration says where to: a span for each request,
//! and below it one for each call of a KMS. They have names, outcomes and times, and nothing that a
//! request carried. No trace is joined on a client's word.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response};
use opentelemetry::trace::{Span, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::HttpError;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use selkie_config::Tracing;
use selkie_kms::http::{HttpClient, HttpClientSettings, HttpSetupError, Roots};
use tokio::runtime::Handle;

/// Spans that wait to be sent; further ones are lost, and no request waits for one.
const QUEUE: usize = 2_048;

const EXPORT_PATIENCE: Duration = Duration::from_secs(5);

/// A process traces to one place.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// The sending of traces. It ends with [`Traces::end`].
#[derive(Debug)]
pub(crate) struct Traces(SdkTracerProvider);

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The authorities cannot be read.
    #[error("otlp_ca_file {}: no certificates in PEM there", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// The error behind it.
        source: rustls_pki_types::pem::Error,
    },
    /// The client cannot be made.
    #[error("the connection for traces cannot be prepared")]
    Setup(#[from] HttpSetupError),
    /// The exporter cannot be made.
    #[error("traces cannot be sent to otlp_endpoint")]
    Exporter(#[from] ExporterBuildError),
}

impl Traces {
    /// From now on requests of this process are traced as `declared`. Within a Tokio runtime.
    pub(crate) fn start(declared: &Tracing) -> Result<Self, TracesError> {
        let settings = HttpClientSettings::default();
        let client = match (declared.endpoint.scheme(), &declared.ca_file) {
            ("http", _) => HttpClient::plain(settings)?,
            (_, None) => HttpClient::https(settings)?,
            (_, Some(path)) => {
                let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
                let refused = |source| TracesError::Authorities { path: path.clone(), source };
                let roots = Roots::Given(read.map_err(refused)?);
                HttpClient::https(HttpClientSettings { roots, ..settings })?
            }
        };
        let headers = declared.headers.iter();
        let headers: HashMap<_, _> =
            headers.map(|one| (one.name.clone(), one.value.as_str().to_owned())).collect();
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new(client))
            .with_endpoint(declared.endpoint.as_str())
            .with_timeout(EXPORT_PATIENCE)
            .with_headers(headers)
            .build()?;
        let bounds = BatchConfigBuilder::default().with_max_queue_size(QUEUE).build();
        let batches = BatchSpanProcessor::builder(exporter).with_batch_config(bounds).build();
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder_empty()
            .with_service_name("selkie")
            .with_attributes([version])
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(batches)
            .with_sampler(Sampler::TraceIdRatioBased(declared.sample_ratio))
            .with_resource(resource)
            .build();
        // A second server of one process, as in tests, traces to where the first one does.
        let _ = TRACER.set(provider.tracer("selkie"));
        Ok(Self(provider))
    }

    /// Sends what waits, within a few seconds.
    pub(crate) async fn end(&self) {
        let provider = self.0.clone();
        let ended = tokio::task::spawn_blocking(move || provider.shutdown()).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::warn!("the last traces could not be sent");
        }
    }
}

/// The span of a request that begins, if requests are traced.
pub(crate) fn request(method: &Method, operation: &'static str) -> Option<Context> {
    let tracer = TRACER.get()?;
    let method = match *method {
        Method::GET => "GET",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        _ => "_OTHER",
    };
    let span = tracer
        .span_builder(operation)
        .with_kind(SpanKind::Server)
        .with_attributes([
            KeyValue::new("http.request.method", method),
            KeyValue::new("selkie.operation", operation),
        ])
        .start_with_context(tracer, &Context::new());
    Some(Context::new().with_span(span))
}

/// The request of this span was answered with `status`.
pub(crate) fn answered(context: &Context, status: u16) {
    let span = context.span();
    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
    if status >= 500 {
        span.set_status(Status::error(""));
    }
    span.end();
}

/// The span of a call of a KMS for the request that is worked on, if that is traced.
pub(crate) fn kms_call(seal: &str, operation: &'static str) -> Option<KmsSpan> {
    let (tracer, current) = (TRACER.get()?, Context::current());
    if !current.has_active_span() {
        return None;
    }
    let seal = KeyValue::new("selkie.seal", seal.to_owned());
    let span = tracer.span_builder(format!("kms {operation}")).with_kind(SpanKind::Client);
    Some(KmsSpan(span.with_attributes([seal]).start_with_context(tracer, &current)))
}

/// A call of a KMS.
pub(crate) struct KmsSpan(opentelemetry_sdk::trace::Span);

impl KmsSpan {
    /// The call has ended so.
    pub(crate) fn end(mut self, outcome: &'static str) {
        self.0.set_attribute(KeyValue::new("selkie.outcome", outcome));
        if outcome != "ok" {
            self.0.set_status(Status::error(outcome));
        }
        self.0.end();
    }
}

/// Our own client in the exporter's words; it works on the runtime, whoever asks.
struct Collector {
    client: Arc<HttpClient>,
    runtime: Handle,
    is_failing: AtomicBool,
}

impl Collector {
    fn new(client: Arc<HttpClient>) -> Self {
        Self { client, runtime: Handle::current(), is_failing: AtomicBool::new(false) }
    }
}

#[async_trait]
impl opentelemetry_http::HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = Arc::clone(&self.client);
        let sent = self.runtime.spawn(async move { client.send(request).await }).await?;
        let is_failing = !sent.as_ref().is_ok_and(|answer| answer.status().is_success());
        if is_failing && !self.is_failing.swap(is_failing, Ordering::Relaxed) {
            let status = sent.as_ref().ok().map(|answer| answer.status().as_u16());
            tracing::warn!(status, "traces cannot be sent; they are lost until they can");
        }
        self.is_failing.store(is_failing, Ordering::Relaxed);
        Ok(sent?)
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}
