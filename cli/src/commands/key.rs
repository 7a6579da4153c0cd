//! `upriver key`: keys of senders and readers.

use upriver_ingest::server::KeyHash;
use uuid::Uuid;

use crate::args::KeyCreateArgs;
use crate::output::Output;
use crate::run::Outcome;

/// Makes a key up and prints it, once, with the lines of the configuration that let it in.
pub(crate) fn create(args: &KeyCreateArgs, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let key = format!("upr_{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let scopes: Vec<_> = args.scopes.iter().map(|scope| scope.scope().name()).collect();
    let entry = serde_json::json!({
        "name": args.name,
        "hash": KeyHash::of(&key).to_string(),
        "scopes": scopes,
        "tenant": args.tenant,
    });
    writeln!(output.out, "{key}")?;
    writeln!(
        output.err,
        "This key is shown once; the server needs its hash alone. Add to the configuration:\n\n\
         auth:\n  keys:\n    - {entry}\n\n\
         and send the key as `Authorization: Bearer KEY`, as the password of basic authentication, or as \
         `X-API-Key`."
    )?;
    Ok(Outcome::Done)
}
