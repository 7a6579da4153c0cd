//! The stacks of checkout, a Go service, in groups that grow or shrink together.
//!
//! The families that matter are disjoint on purpose: collecting runs in its own workers,
//! allocating in the decoder of inventory's response, serialising in the middleware that renders
//! what the handler returned, the query in a goroutine of its own. Only then do the shares of the
//! story add up. [`Nesting::UnderMarshal`] moves most of the allocation under the serialiser.

use crate::pprof::Frame;

/// Where `mallocgc` runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nesting {
    /// In application code alone.
    Disjoint,
    /// Eight ninths of it under `encoding/json.Marshal`.
    UnderMarshal,
}

/// Share of the allocation that runs under the serialiser: 8 of 9 % make a union of 47 %.
const NESTED_SHARE: f64 = 8.0 / 9.0;

/// Stacks that hold a share of the samples together.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Share of the samples in percent, before the inflation and during it.
    pub(crate) healthy: f64,
    pub(crate) inflated: f64,
    /// Stacks, leaf first, with their weights within the group.
    pub(crate) stacks: Vec<(f64, Vec<Frame>)>,
}

/// All stacks of the service; the shares add up to 100 %.
pub(crate) fn groups(nesting: Nesting) -> Vec<Group> {
    let (malloc, marshal) = ((2.0, 9.0), (4.0, 24.0));
    let nested = match nesting {
        Nesting::Disjoint => (0.0, 0.0),
        Nesting::UnderMarshal => (malloc.0 * NESTED_SHARE, malloc.1 * NESTED_SHARE),
    };
    let scan = (4.0, 22.0);
    let handler = (6.0, 6.0);
    let query = (12.0, 12.0);
    let named = [scan, malloc, marshal, handler, query];
    let rest = (
        100.0 - named.iter().map(|share| share.0).sum::<f64>() + nested.0,
        100.0 - named.iter().map(|share| share.1).sum::<f64>() + nested.1,
    );
    let group = |(healthy, inflated): (f64, f64), stacks| Group { healthy, inflated, stacks };
    vec![
        group(scan, collecting()),
        group((malloc.0 - nested.0, malloc.1 - nested.1), allocating()),
        group((marshal.0 - nested.0, marshal.1 - nested.1), serialising()),
        group(nested, allocating_under_marshal()),
        group(handler, handling()),
        group(query, querying()),
        group(rest, other()),
    ]
}

const fn frame(function: &'static str, file: &'static str, line: i64) -> Frame {
    Frame { function, file, line }
}

const SERVE: &[Frame] = &[
    frame("net/http.HandlerFunc.ServeHTTP", "net/http/server.go", 2322),
    frame(
        "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp.(*middleware).serveHTTP",
        "otelhttp/handler.go",
        174,
    ),
    frame("net/http.(*ServeMux).ServeHTTP", "net/http/server.go", 2861),
    frame("net/http.serverHandler.ServeHTTP", "net/http/server.go", 3340),
    frame("net/http.(*conn).serve", "net/http/server.go", 2109),
    frame("net/http.(*Server).Serve.gowrap3", "net/http/server.go", 3493),
];
const HANDLER: &[Frame] = &[frame("handlers.Checkout", "handlers/checkout.go", 88)];
const RENDER: &[Frame] = &[
    frame("render.JSON", "render/json.go", 41),
    frame("render.(*Middleware).ServeHTTP", "render/middleware.go", 63),
];
const MARSHAL: &[Frame] = &[
    frame("encoding/json.structEncoder.encode", "encoding/json/encode.go", 704),
    frame("encoding/json.sliceEncoder.encode", "encoding/json/encode.go", 841),
    frame("encoding/json.structEncoder.encode", "encoding/json/encode.go", 704),
    frame("encoding/json.(*encodeState).reflectValue", "encoding/json/encode.go", 333),
    frame("encoding/json.(*encodeState).marshal", "encoding/json/encode.go", 309),
    frame("encoding/json.Marshal", "encoding/json/encode.go", 176),
];
const INVENTORY_CLIENT: &[Frame] = &[
    frame("inventory.(*Client).readItems", "inventory/client.go", 132),
    frame("inventory.(*Client).Items", "inventory/client.go", 74),
];
const GROUP: &[Frame] =
    &[frame("golang.org/x/sync/errgroup.(*Group).Go.func1", "errgroup/errgroup.go", 93)];
const COLLECTOR: &[Frame] = &[
    frame("runtime.gcDrain", "runtime/mgcmark.go", 1203),
    frame("runtime.gcDrainMarkWorkerDedicated", "runtime/mgcmark.go", 1122),
    frame("runtime.gcBgMarkWorker.func2", "runtime/mgc.go", 1536),
    frame("runtime.systemstack", "runtime/asm_amd64.s", 514),
    frame("runtime.gcBgMarkWorker", "runtime/mgc.go", 1496),
];
const SCAN: Frame = frame("runtime.scanobject", "runtime/mgcmark.go", 1441);
const MALLOC: Frame = frame("runtime.mallocgc", "runtime/malloc.go", 1058);
const QUERY: &[Frame] = &[
    frame("github.com/jackc/pgx/v5.(*Conn).Query", "pgx/v5/conn.go", 755),
    frame("pgx.Query", "pgx/query.go", 29),
    frame("orders.(*Store).Lines", "orders/store.go", 57),
];
const SYSCALL: &[Frame] = &[
    frame("internal/runtime/syscall.Syscall6", "internal/runtime/syscall/asm_linux_amd64.s", 36),
    frame("syscall.RawSyscall6", "runtime/internal/syscall/syscall_linux.go", 38),
    frame("syscall.Syscall", "syscall/syscall_linux.go", 73),
];
const READ: &[Frame] = &[
    frame("syscall.read", "syscall/zsyscall_linux_amd64.go", 736),
    frame("internal/poll.(*FD).Read", "internal/poll/fd_unix.go", 165),
    frame("net.(*conn).Read", "net/net.go", 194),
];
const WRITE: &[Frame] = &[
    frame("syscall.write", "syscall/zsyscall_linux_amd64.go", 964),
    frame("internal/poll.(*FD).Write", "internal/poll/fd_unix.go", 381),
    frame("net.(*conn).Write", "net/net.go", 206),
];
const SCHEDULE: &[Frame] = &[
    frame("runtime.findRunnable", "runtime/proc.go", 3367),
    frame("runtime.schedule", "runtime/proc.go", 4093),
    frame("runtime.park_m", "runtime/proc.go", 4210),
    frame("runtime.mcall", "runtime/asm_amd64.s", 459),
];

/// A stack of these parts, leaf first.
fn stack(weight: f64, parts: &[&[Frame]]) -> (f64, Vec<Frame>) {
    (weight, parts.concat())
}

fn collecting() -> Vec<(f64, Vec<Frame>)> {
    let grey = frame("runtime.greyobject", "runtime/mgcmark.go", 1619);
    let find = frame("runtime.findObject", "runtime/mbitmap.go", 1394);
    vec![
        stack(0.60, &[&[SCAN], COLLECTOR]),
        stack(0.25, &[&[find, SCAN], COLLECTOR]),
        stack(0.15, &[&[grey, SCAN], COLLECTOR]),
    ]
}

fn allocating() -> Vec<(f64, Vec<Frame>)> {
    let next_free = frame("runtime.nextFreeFast", "runtime/malloc.go", 948);
    let clear = frame("runtime.memclrNoHeapPointers", "runtime/memclr_amd64.s", 93);
    let object = frame("runtime.newobject", "runtime/malloc.go", 1746);
    let slice = frame("runtime.makeslice", "runtime/slice.go", 116);
    let text = frame("runtime.slicebytetostring", "runtime/string.go", 138);
    vec![
        stack(0.40, &[&[MALLOC, object], INVENTORY_CLIENT, GROUP]),
        stack(0.25, &[&[next_free, MALLOC, slice], INVENTORY_CLIENT, GROUP]),
        stack(0.20, &[&[clear, MALLOC, slice], INVENTORY_CLIENT, GROUP]),
        stack(0.15, &[&[MALLOC, text], INVENTORY_CLIENT, GROUP]),
    ]
}

fn allocating_under_marshal() -> Vec<(f64, Vec<Frame>)> {
    let grow = [
        frame("runtime.makeslice", "runtime/slice.go", 116),
        frame("bytes.growSlice", "bytes/buffer.go", 251),
        frame("bytes.(*Buffer).grow", "bytes/buffer.go", 151),
        frame("bytes.(*Buffer).Write", "bytes/buffer.go", 179),
    ];
    let clear = frame("runtime.memclrNoHeapPointers", "runtime/memclr_amd64.s", 93);
    vec![
        stack(0.7, &[&[MALLOC], &grow, MARSHAL, RENDER, SERVE]),
        stack(0.3, &[&[clear, MALLOC], &grow, MARSHAL, RENDER, SERVE]),
    ]
}

fn serialising() -> Vec<(f64, Vec<Frame>)> {
    let string = [
        frame("encoding/json.appendString[go.shape.string]", "encoding/json/encode.go", 983),
        frame("encoding/json.stringEncoder", "encoding/json/encode.go", 623),
    ];
    let float = [
        frame("strconv.AppendFloat", "strconv/ftoa.go", 57),
        frame("encoding/json.floatEncoder.encode", "encoding/json/encode.go", 582),
    ];
    let compact = [
        frame("encoding/json.appendCompact", "encoding/json/indent.go", 49),
        frame("encoding/json.marshalerEncoder", "encoding/json/encode.go", 472),
    ];
    let field = [frame("reflect.Value.Field", "reflect/value.go", 1279)];
    let write = [
        frame("runtime.memmove", "runtime/memmove_amd64.s", 438),
        frame("bytes.(*Buffer).Write", "bytes/buffer.go", 182),
    ];
    vec![
        stack(0.35, &[&string, MARSHAL, RENDER, SERVE]),
        stack(0.15, &[&float, MARSHAL, RENDER, SERVE]),
        stack(0.20, &[&compact, MARSHAL, RENDER, SERVE]),
        stack(0.15, &[&field, MARSHAL, RENDER, SERVE]),
        stack(0.15, &[&write, MARSHAL, RENDER, SERVE]),
    ]
}

fn handling() -> Vec<(f64, Vec<Frame>)> {
    let total = frame("pricing.(*Cart).Total", "pricing/cart.go", 112);
    let lookup = frame("runtime.mapaccess2_faststr", "runtime/map_faststr.go", 159);
    vec![
        stack(0.4, &[HANDLER, SERVE]),
        stack(0.35, &[&[total], HANDLER, SERVE]),
        stack(0.25, &[&[lookup, total], HANDLER, SERVE]),
    ]
}

fn querying() -> Vec<(f64, Vec<Frame>)> {
    let receive = frame("github.com/jackc/pgx/v5/pgconn.(*PgConn).peekMessage", "pgconn.go", 541);
    let send = frame("github.com/jackc/pgx/v5/pgconn.(*PgConn).ExecPrepared", "pgconn.go", 1174);
    let scan = frame("github.com/jackc/pgx/v5/pgtype.(*Map).Scan", "pgtype/pgtype.go", 1240);
    vec![
        stack(0.42, &[SYSCALL, READ, &[receive], QUERY, GROUP]),
        stack(0.25, &[SYSCALL, WRITE, &[send], QUERY, GROUP]),
        stack(0.33, &[&[scan], QUERY, GROUP]),
    ]
}

/// Everything else: the weights are shares of the whole before the inflation.
fn other() -> Vec<(f64, Vec<Frame>)> {
    let read_loop = frame("net/http.(*persistConn).readLoop", "net/http/transport.go", 2325);
    let write_loop = frame("net/http.(*persistConn).writeLoop", "net/http/transport.go", 2596);
    let request = [
        frame("net/textproto.(*Reader).ReadMIMEHeader", "net/textproto/reader.go", 558),
        frame("net/http.readRequest", "net/http/request.go", 1151),
        frame("net/http.(*conn).readRequest", "net/http/server.go", 1065),
    ];
    let flush = [
        frame("net/http.checkConnErrorWriter.Write", "net/http/server.go", 3901),
        frame("bufio.(*Writer).Flush", "bufio/bufio.go", 639),
        frame("net/http.(*response).finishRequest", "net/http/server.go", 1722),
    ];
    let futex = [
        frame("runtime.futex", "runtime/sys_linux_amd64.s", 558),
        frame("runtime.futexsleep", "runtime/os_linux.go", 75),
        frame("runtime.notesleep", "runtime/lock_futex.go", 47),
    ];
    let poll = [frame("runtime.netpoll", "runtime/netpoll_epoll.go", 116)];
    let tax = [frame("pricing.(*TaxTable).Rate", "pricing/tax.go", 64)];
    let merge = [frame("pricing.(*Cart).Merge", "pricing/cart.go", 57)];
    let stream = [
        frame("google.golang.org/grpc/internal/transport.(*loopyWriter).run", "controlbuf.go", 572),
        frame("google.golang.org/grpc/internal/transport.NewHTTP2Client.func6", "http2.go", 471),
    ];
    let end =
        [frame("go.opentelemetry.io/otel/sdk/trace.(*recordingSpan).End", "trace/span.go", 482)];
    let status = [frame("handlers.OrderStatus", "handlers/status.go", 33)];
    let last = &SERVE[SERVE.len() - 2..];
    vec![
        stack(11.0, &[SYSCALL, READ, &[read_loop]]),
        stack(8.0, &[SYSCALL, WRITE, &[write_loop]]),
        stack(8.0, &[&request, last]),
        stack(9.0, &[SYSCALL, WRITE, &flush, last]),
        stack(9.0, &[&futex, SCHEDULE]),
        stack(6.0, &[&poll, SCHEDULE]),
        stack(5.0, &[&tax, &merge, GROUP]),
        stack(4.0, &[INVENTORY_CLIENT, GROUP]),
        stack(5.0, &[&stream]),
        stack(3.0, &[&end, SERVE]),
        stack(4.0, &[&status, SERVE]),
    ]
}

#[cfg(test)]
mod tests;
