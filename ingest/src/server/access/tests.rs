use super::*;

fn key(name: &str, tenant: &str, other_tenants: &[&str]) -> ApiKey {
    ApiKey {
        name: name.to_owned(),
        hash: KeyHash::of(name),
        scopes: vec![Scope::Telemetry],
        tenant: tenant.to_owned(),
        other_tenants: other_tenants.iter().map(|&tenant| tenant.to_owned()).collect(),
    }
}

fn access(keys: Vec<ApiKey>, anonymous: &[Scope]) -> Arc<Access> {
    Access::new(AccessOptions { keys, anonymous: anonymous.to_vec(), ..AccessOptions::default() })
}

fn request(headers: &[(&str, &str)], peer: Option<Peer>) -> Request<()> {
    let mut request = Request::new(());
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    request
}

fn peer(address: &str, certificate: Option<&[u8]>) -> Peer {
    Peer { address: address.parse().unwrap(), certificate: certificate.map(Arc::from) }
}

#[test]
fn a_hash_reads_as_it_is_written_and_hides_the_key() {
    let hash = KeyHash::of("hush");
    assert_eq!(KeyHash::parse(&hash.to_string()), Some(hash));
    assert_ne!(KeyHash::of("hush "), hash);
    // SHA-256 of the empty text is well known.
    let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(KeyHash::of("").to_string(), empty);
    let [cut, bare] = [empty.trim_end_matches('5'), empty.trim_start_matches("sha256:")];
    for wrong in ["", "sha256:", cut, &empty.replace('e', "g"), bare] {
        assert_eq!(KeyHash::parse(wrong), None, "{wrong}");
    }
    assert_eq!(KeyHash::parse(&empty.replace("e3", "+3")), None);
    assert!(!format!("{:?}", key("hush", "default", &[]).hash).contains("hush"));
}

#[test]
fn without_keys_everybody_may_do_everything_as_the_default_tenant() {
    let open = access(Vec::new(), &[]);
    let shown = [("authorization", "Basic whatever"), ("x-scope-orgid", "other")];
    let sender = open.sender(&request(&shown, None)).unwrap();
    assert_eq!(&*sender.tenant, DEFAULT_TENANT);
    assert!(Scope::ALL.into_iter().all(|scope| sender.may(scope)));
}

#[test]
fn the_tenant_comes_from_the_key_and_the_header_only_where_the_key_allows_it() {
    let keys = vec![key("a", "shop", &["lab"]), key("b", "default", &[])];
    let options = AccessOptions { keys: keys.clone(), ..AccessOptions::default() };
    assert!(Access::tenants(&options).into_iter().eq(["default", "lab", "shop"]));
    let access = access(keys, &[Scope::Telemetry]);
    let tenant = |key: &str, asked: &[&str]| {
        let key = format!("Bearer {key}");
        let asked = asked.iter().map(|tenant| ("x-scope-orgid", *tenant));
        let headers: Vec<_> = [("authorization", key.as_str())].into_iter().chain(asked).collect();
        access.sender(&request(&headers, None)).map(|sender| sender.tenant.to_string())
    };
    assert_eq!(tenant("a", &[]).unwrap(), "shop");
    assert_eq!(tenant("a", &["shop"]).unwrap(), "shop");
    assert_eq!(tenant("a", &["lab"]).unwrap(), "lab");
    assert_eq!(tenant("b", &[]).unwrap(), "default");
    for (key, asked) in [("a", "default"), ("b", "shop"), ("b", "../shop"), ("b", "nobody")] {
        assert_eq!(tenant(key, &[asked]).unwrap_err().class, Class::Forbidden, "{key} {asked}");
    }
    assert!(tenant("a", &["lab", "shop"]).is_err(), "twice");
    let anonymous = |asked| access.sender(&request(&[("x-scope-orgid", asked)], None));
    assert_eq!(&*anonymous("default").unwrap().tenant, "default");
    assert_eq!(anonymous("shop").unwrap_err().class, Class::Forbidden);
}

#[test]
fn senders_are_told_apart_by_key_then_certificate_then_address() {
    let access = access(vec![key("a", "default", &[])], &[Scope::Telemetry]);
    let bucket =
        |headers: &[(&str, &str)], peer| access.sender(&request(headers, peer)).unwrap().bucket();
    let shown = [("x-api-key", "a")];
    let (here, there) = (peer("192.0.2.1", None), peer("192.0.2.2", None));
    assert_eq!(bucket(&shown, Some(here.clone())), bucket(&shown, Some(there.clone())));
    assert_ne!(bucket(&[], Some(here.clone())), bucket(&[], Some(there)));
    let with = |der: &[u8]| bucket(&[], Some(peer("192.0.2.1", Some(der))));
    assert_eq!(with(b"one"), with(b"one"));
    assert_ne!(with(b"one"), with(b"two"));
    assert_ne!(with(b"one"), bucket(&[], Some(here)));
    assert_eq!(bucket(&[], None), BucketOf::Rest, "who is not known is not exempt");
}

#[test]
fn who_comes_from_this_machine_is_known_by_its_address_alone() {
    let open = access(Vec::new(), &[]);
    let is_here = |peer| open.sender(&request(&[], peer)).unwrap().is_on_this_machine();
    for here in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
        assert!(is_here(Some(peer(here, None))), "{here}");
    }
    assert!(!is_here(Some(peer("192.0.2.1", None))));
    assert!(!is_here(None));
    let forwarded = [("x-forwarded-for", "127.0.0.1"), ("host", "localhost")];
    let sender = open.sender(&request(&forwarded, Some(peer("192.0.2.1", None)))).unwrap();
    assert!(!sender.is_on_this_machine(), "headers say nothing about the address");
}
