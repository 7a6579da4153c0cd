// What a Node service sends with the official SDK: orders with their events, metrics and logs.
"use strict";

const { SpanKind, SpanStatusCode, context, trace } = require("@opentelemetry/api");
const { SeverityNumber } = require("@opentelemetry/api-logs");
const { BatchLogRecordProcessor, LoggerProvider } = require("@opentelemetry/sdk-logs");
const { MeterProvider, PeriodicExportingMetricReader } = require("@opentelemetry/sdk-metrics");
const { BatchSpanProcessor, NodeTracerProvider } = require("@opentelemetry/sdk-trace-node");
const { resourceFromAttributes } = require("@opentelemetry/resources");

const packages = { protobuf: "proto", json: "http", grpc: "grpc" };
const form = packages[process.argv[2]];
const exporter = (signal, name) => new (require(`@opentelemetry/exporter-${signal}-otlp-${form}`)[name])();

const orders = Number(process.env.ORDERS);
const resource = resourceFromAttributes({
  "service.name": process.env.OTEL_SERVICE_NAME,
  "service.version": "7.1.0",
});
const tracers = new NodeTracerProvider({
  resource,
  spanProcessors: [
    new BatchSpanProcessor(exporter("trace", "OTLPTraceExporter"), { maxQueueSize: 10000 }),
  ],
});
tracers.register();
const tracer = tracers.getTracer("orders", "1.2.3");
const meters = new MeterProvider({
  resource,
  readers: [
    new PeriodicExportingMetricReader({
      exporter: exporter("metrics", "OTLPMetricExporter"),
      exportIntervalMillis: 3600000,
    }),
  ],
});
const meter = meters.getMeter("orders");
const counter = meter.createCounter("orders.placed", { unit: "{order}" });
const sizes = meter.createHistogram("orders.size", { unit: "By" });
const loggers = new LoggerProvider({
  resource,
  processors: [
    new BatchLogRecordProcessor({ exporter: exporter("logs", "OTLPLogExporter"), maxQueueSize: 10000 }),
  ],
});
const logger = loggers.getLogger("orders");

async function main() {
  let first;
  for (let number = 0; number < orders; number += 1) {
    const links = first ? [{ context: first }] : [];
    const order = tracer.startSpan(`order ${number}`, { kind: SpanKind.SERVER, links });
    first = first || order.spanContext();
    order.setAttribute("order.number", number);
    order.setAttribute("order.name", `Bücher & <mehr> ${number}`);
    order.setAttribute("order.weight", number / 4);
    order.setAttribute("order.gift", number % 2 === 0);
    order.setAttribute("order.items", [`item ${number}`, 'a "quoted" one']);
    order.addEvent("packed", { box: number });
    if (number % 10 === 0) {
      order.setStatus({ code: SpanStatusCode.ERROR, message: "out of stock" });
    }
    const within = trace.setSpan(context.active(), order);
    const call = tracer.startSpan("reserve", { kind: SpanKind.CLIENT }, within);
    call.setAttribute("http.request.method", "POST");
    call.setAttribute("http.response.body.size", 100 + number);
    call.end();
    counter.add(1, { shop: "north" });
    sizes.record(100 + number);
    logger.emit({
      severityNumber: SeverityNumber.WARN,
      severityText: "WARN",
      body: `order ${number} packed`,
      attributes: { "order.number": number },
      context: within,
    });
    order.end();
  }
  for (const provider of [tracers, loggers]) {
    await provider.forceFlush();
    await provider.shutdown();
  }
  // Exports what was measured once; a flush before would be another data point of each series.
  await meters.shutdown();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
