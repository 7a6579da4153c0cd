//! What a Rust service sends with the official SDK: orders with their events, metrics and logs.
//! Form and compression come from the environment, as exporters read it.

use std::env;
use std::error::Error;
use std::time::Duration;

use opentelemetry::logs::{LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::{Counter, Histogram, MeterProvider};
use opentelemetry::trace::{
    Link, Span, SpanContext, SpanKind, Status, TraceContextExt, Tracer, TracerProvider,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

fn main() -> Result<(), Box<dyn Error>> {
    let orders: u32 = env::var("ORDERS")?.parse()?;
    // Carries the connections of gRPC.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let providers = {
        let _entered = runtime.enter();
        Providers::from_environment()?
    };
    Shop::new(&providers).place(orders);
    providers.finish()
}

struct Providers {
    tracers: SdkTracerProvider,
    meters: SdkMeterProvider,
    loggers: SdkLoggerProvider,
}

impl Providers {
    fn from_environment() -> Result<Self, Box<dyn Error>> {
        let resource = Resource::builder().build();
        let tracers = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_batch_exporter(SpanExporter::builder().build()?)
            .build();
        let reader = PeriodicReader::builder(MetricExporter::builder().build()?)
            .with_interval(Duration::from_secs(3600))
            .build();
        let meters =
            SdkMeterProvider::builder().with_resource(resource.clone()).with_reader(reader).build();
        let loggers = SdkLoggerProvider::builder()
            .with_resource(resource)
            .with_batch_exporter(LogExporter::builder().build()?)
            .build();
        Ok(Self { tracers, meters, loggers })
    }

    /// Sends what is left.
    fn finish(self) -> Result<(), Box<dyn Error>> {
        self.tracers.force_flush()?;
        self.tracers.shutdown()?;
        self.loggers.force_flush()?;
        self.loggers.shutdown()?;
        // Exports what was measured once; a flush before would be another data point of each series.
        self.meters.shutdown()?;
        Ok(())
    }
}

struct Shop {
    tracer: SdkTracer,
    logger: SdkLogger,
    placed: Counter<u64>,
    sizes: Histogram<u64>,
}

impl Shop {
    fn new(providers: &Providers) -> Self {
        let scope = InstrumentationScope::builder("orders").with_version("1.2.3").build();
        let meter = providers.meters.meter("orders");
        Self {
            tracer: providers.tracers.tracer_with_scope(scope),
            logger: providers.loggers.logger("orders"),
            placed: meter.u64_counter("orders.placed").with_unit("{order}").build(),
            sizes: meter.u64_histogram("orders.size").with_unit("By").build(),
        }
    }

    fn place(&self, orders: u32) {
        let mut first = None;
        for number in 0..orders {
            let order = self.order(number, first.as_ref());
            first = first.or(Some(order));
        }
    }

    /// An order with everything that belongs to it, linked to the first one.
    fn order(&self, number: u32, first: Option<&SpanContext>) -> SpanContext {
        let links = first.map(|first| Link::new(first.clone(), Vec::new(), 0));
        let items = vec![StringValue::from(format!("item {number}")), "a \"quoted\" one".into()];
        let mut order = self
            .tracer
            .span_builder(format!("order {number}"))
            .with_kind(SpanKind::Server)
            .with_links(links.into_iter().collect())
            .start(&self.tracer);
        order.set_attributes([
            KeyValue::new("order.number", i64::from(number)),
            KeyValue::new("order.name", format!("Bücher & <mehr> {number}")),
            KeyValue::new("order.weight", f64::from(number) / 4.0),
            KeyValue::new("order.gift", number % 2 == 0),
            KeyValue::new("order.items", Value::Array(items.into())),
        ]);
        order.add_event("packed", vec![KeyValue::new("box", i64::from(number))]);
        if number % 10 == 0 {
            order.set_status(Status::error("out of stock"));
        }
        let context = order.span_context().clone();
        let _within = Context::current_with_span(order).attach();
        self.reserve(number);
        self.placed.add(1, &[KeyValue::new("shop", "north")]);
        self.sizes.record(100 + u64::from(number), &[]);
        self.log(number);
        context
    }

    fn reserve(&self, number: u32) {
        let mut call =
            self.tracer.span_builder("reserve").with_kind(SpanKind::Client).start(&self.tracer);
        call.set_attribute(KeyValue::new("http.request.method", "POST"));
        call.set_attribute(KeyValue::new("http.response.body.size", 100 + i64::from(number)));
    }

    /// A record; the logger takes trace and span from the context.
    fn log(&self, number: u32) {
        let mut record = self.logger.create_log_record();
        record.set_severity_number(Severity::Warn);
        record.set_severity_text("WARN");
        record.set_body(format!("order {number} packed").into());
        record.add_attribute("order.number", i64::from(number));
        self.logger.emit(record);
    }
}
