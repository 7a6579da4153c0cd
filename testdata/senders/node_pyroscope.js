// What a Node service sends with Pyroscope's client: its CPU time, nearly all of it in one function.
"use strict";

const Pyroscope = require("@pyroscope/nodejs");

Pyroscope.init({
  appName: process.env.OTEL_SERVICE_NAME,
  serverAddress: process.env.PYROSCOPE_SERVER_ADDRESS,
  tags: { version: "7.1.0", region: "north" },
  flushIntervalMs: 1500,
  wall: { samplingDurationMs: 1500, samplingIntervalMicros: 10000, collectCpuTime: true },
});

function burnTheProcessor(until) {
  let sum = 0;
  while (Date.now() < until) {
    for (let i = 0; i < 10000; i += 1) {
      sum += Math.sqrt(i);
    }
  }
  return sum;
}

async function main() {
  Pyroscope.start();
  const end = Date.now() + 4000;
  while (Date.now() < end) {
    burnTheProcessor(Date.now() + 200);
    // The client exports between two pieces of work.
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await Pyroscope.stop();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
