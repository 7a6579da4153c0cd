//! Names as real profilers write them, and the data file itself.

use std::collections::BTreeSet;

use super::{DATA, Family, Name, Rule, Rules, Runtime, family};

fn check(expected: Option<Family>, frames: &[(&str, &str)]) {
    for (function, file) in frames {
        assert_eq!(family(function, file), expected, "{function} in `{file}`");
    }
}

#[test]
fn go() {
    check(
        Some(Family::Gc),
        &[
            ("runtime.gcBgMarkWorker.func2", ""),
            ("runtime.scanobject", ""),
            ("runtime.scanObjectsSmall", ""),
            ("runtime.tryDeferToSpanScan", ""),
            ("runtime.(*gcWork).tryGetSpan", ""),
            ("gcWriteBarrier", "/usr/go/src/runtime/asm_amd64.s"),
        ],
    );
    check(
        Some(Family::Allocation),
        &[("runtime.mallocgcSmallScanNoHeader", ""), ("runtime.(*mheap).alloc.func1", "")],
    );
    check(
        Some(Family::Serialization),
        &[
            ("encoding/json.Marshal", ""),
            ("encoding/json.(*decodeState).object", ""),
            ("google.golang.org/protobuf/internal/impl.(*MessageInfo).marshal", ""),
            ("gopkg.in/yaml%2ev2.yaml_parser_parse", ""),
            ("go.mongodb.org/mongo-driver/bson.Marshal", ""),
        ],
    );
    check(
        Some(Family::Database),
        &[
            ("github.com/jackc/pgx/v5.(*Conn).Query", ""),
            ("pgx.Query", ""),
            ("database/sql.(*DB).QueryContext", ""),
            ("go.mongodb.org/mongo-driver/mongo.(*Collection).Find", ""),
        ],
    );
    check(Some(Family::Lock), &[("sync.(*Mutex).lockSlow", ""), ("runtime.lock2", "")]);
    check(Some(Family::Syscall), &[("internal/runtime/syscall/linux.Syscall6", "")]);
    check(Some(Family::Scheduler), &[("runtime.findRunnable", ""), ("runtime.park_m", "")]);
    check(Some(Family::Tls), &[("crypto/tls.(*Conn).Write", "")]);
    check(Some(Family::Crypto), &[("crypto/internal/fips140/sha256.block", "")]);
    check(Some(Family::Compression), &[("compress/flate.(*compressor).deflate", "")]);
    check(Some(Family::Regex), &[("regexp.(*Regexp).doExecute", "")]);
}

#[test]
fn jvm() {
    check(
        Some(Family::Gc),
        &[
            ("libjvm.so.G1CMConcurrentMarkingTask::work", ""),
            ("ConcurrentGCThread::run", ""),
            ("GCTaskThread::run", ""),
            ("ShenandoahControlThread::run_service", ""),
        ],
    );
    check(
        Some(Family::Allocation),
        &[
            ("InstanceKlass::allocate_instance", ""),
            ("libjvm.so.MemAllocator::allocate", ""),
            ("G1CollectedHeap::allocate_new_tlab", ""),
        ],
    );
    check(
        Some(Family::Serialization),
        &[
            ("com/fasterxml/jackson/databind/ObjectMapper.writeValue", ""),
            ("com.fasterxml.jackson.databind.ObjectMapper.writeValue_[j]", ""),
            ("java.io.ObjectOutputStream.writeObject0", ""),
        ],
    );
    check(Some(Family::Regex), &[("java/util/regex/Pattern$Curly.match", "")]);
    check(Some(Family::Database), &[("org.postgresql.jdbc.PgStatement.execute", "")]);
    check(Some(Family::Syscall), &[("do_syscall_64_[k]", ""), ("libc.so.6.epoll_wait", "")]);
}

#[test]
fn scripts() {
    check(
        Some(Family::Gc),
        &[
            ("(garbage collector)", ""),
            (":(garbage collector):0", ""),
            (":Garbage Collection:0", ""),
            ("v8::internal::Scavenger::Process", ""),
            ("(marking)", ""),
            ("start", "<internal:gc>"),
        ],
    );
    check(
        Some(Family::Serialization),
        &[
            ("iterencode", "/usr/lib/python3.12/json/encoder.py"),
            ("JSONEncoder.iterencode", "C:\\Python312\\Lib\\json\\encoder.py"),
            ("raw_decode", "json/decoder.py"),
            ("/app/node_modules/protobufjs/src/writer.js:push:90", ""),
            ("push", "/app/node_modules/protobufjs/src/writer.js"),
            ("/gems/activesupport-7/lib/active_support/json/encoding.rb:23 - encode", ""),
            ("Oj.dump", ""),
        ],
    );
    check(
        Some(Family::Database),
        &[
            ("execute", "/venv/lib/python3.12/site-packages/sqlalchemy/engine/base.py"),
            ("./node_modules/pg/lib/client.js:query:52", ""),
        ],
    );
}

#[test]
fn dotnet_and_rust() {
    check(
        Some(Family::Gc),
        &[("libcoreclr.so!WKS::gc_heap::mark_object_simple", ""), ("SVR::gc_heap::gc1", "")],
    );
    check(Some(Family::Allocation), &[("coreclr!JIT_NewArr1", ""), ("WKS::GCHeap::Alloc", "")]);
    check(
        Some(Family::Serialization),
        &[
            ("System.Text.Json!System.Text.Json.JsonSerializer.Serialize", ""),
            ("serde_json::ser::to_vec", ""),
            ("<serde_json::ser::Compound<W,F> as serde::ser::SerializeMap>::serialize_value", ""),
            ("<shop::Order as serde::ser::Serialize>::serialize", "src/order.rs"),
            ("<&mut serde_json::de::Deserializer<R> as serde::de::Deserializer>::x", ""),
        ],
    );
    check(
        Some(Family::Allocation),
        &[
            ("alloc::raw_vec::finish_grow", ""),
            ("alloc::raw_vec::RawVec<T,A>::reserve::do_reserve_and_handle", ""),
            ("malloc.c:3321 - malloc", ""),
            ("libc.so.6.malloc", ""),
        ],
    );
}

#[test]
fn the_services_own_code_has_no_family() {
    check(
        None,
        &[
            ("", ""),
            ("main.main", ""),
            ("github.com/acme/runtime.scanobject", ""),
            ("github.com/acme/encoding/json.Marshal", ""),
            ("runtime.systemstack", ""),
            ("runtime.memmove", ""),
            ("net/http.(*conn).serve", ""),
            ("sync.(*Once).doSlow", ""),
            ("github.com/jackc/pgx/v5.BeginTxFunc", ""),
            ("java.security.AccessController.doPrivileged", ""),
            ("java.util.concurrent.ThreadPoolExecutor.runWorker", ""),
            ("run", "/usr/lib/python3.12/threading.py"),
            ("encode", "/app/myjson/encoder.py"),
            ("free", "/app/pool.py"),
            ("./src/jobs.js:schedule:12", ""),
            (":Non JS threads activity:0", ""),
            ("tokio::runtime::park::CachedParkThread::block_on", ""),
            ("tokio::runtime::scheduler::multi_thread::worker::Context::run_task", ""),
        ],
    );
}

#[test]
fn names_lose_what_profilers_put_around_them() {
    let check = |text: &str, function: &str, file: &str| {
        assert_eq!(Name::new(text), Name { function, file }, "{text}");
    };
    check("app.rb:12 - render", "render", "app.rb");
    check("a - b", "a - b", "");
    check("node:internal/timers:processTimers:512", "processTimers", "node:internal/timers");
    check("std::vector::push:12", "std::vector::push:12", "");
    check("read_[k]", "read", "");
    check("Map[int]", "Map[int]", "");
    check(":12", ":12", "");
}

#[test]
fn families_have_one_name() {
    let names: BTreeSet<_> = Family::ALL.iter().map(|family| family.as_str()).collect();
    assert_eq!(names.len(), Family::ALL.len());
    for family in Family::ALL {
        let parsed: Family = serde_json::from_str(&format!("\"{family}\"")).unwrap();
        assert_eq!(parsed, family);
    }
}

#[test]
fn the_data_file_is_sound() {
    Rules::parse(DATA).unwrap();
    let rules: Vec<Rule> = serde_saphyr::from_str(DATA).unwrap();
    let mut seen = BTreeSet::new();
    for rule in &rules {
        assert!(!rule.functions.is_empty() || !rule.files.is_empty(), "{:?}", rule.family);
        let functions = rule.functions.iter().map(|pattern| ("function", pattern));
        for (kind, pattern) in functions.chain(rule.files.iter().map(|pattern| ("file", pattern))) {
            let inner = pattern.strip_prefix('*').unwrap_or(pattern);
            assert!(inner.trim_end_matches('*').len() >= 2, "`{pattern}` is too short");
            let starts_word =
                inner.starts_with(|c: char| c.is_alphanumeric() || "_(<@".contains(c));
            assert!(starts_word, "`{pattern}` does not begin where a word begins");
            assert!(seen.insert((kind, pattern.clone())), "`{pattern}` is there twice");
        }
    }
    for family in Family::ALL {
        assert!(rules.iter().any(|rule| rule.family == Some(family)), "no rule for {family}");
    }
    for runtime in [Runtime::Go, Runtime::Jvm, Runtime::V8, Runtime::Python, Runtime::Ruby] {
        assert!(rules.iter().any(|rule| rule.runtime == runtime), "no rule for {runtime:?}");
    }
}
