use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn limits(sizer: Sizer) -> RateLimits {
    RateLimits { per_sender: 10, per_address: 2, burst: 20, loopback: true, sizer }
}

fn sender(name: &str) -> BucketOf {
    BucketOf::Sender(name.into())
}

fn address(text: &str) -> BucketOf {
    BucketOf::address(text.parse().unwrap())
}

fn admitted(limiter: &RateLimiter, bucket: &BucketOf, now: Duration) -> usize {
    (0..1_000).take_while(|_| limiter.admit(bucket.clone(), now).is_ok()).count()
}

#[test]
fn a_burst_is_let_in_and_then_the_rate() {
    let limiter = RateLimiter::new(limits(Sizer::Requests));
    let checkout = sender("checkout");
    assert_eq!(admitted(&limiter, &checkout, SECOND), 20);
    let wait = limiter.admit(checkout.clone(), SECOND).unwrap_err();
    assert_eq!(wait, Duration::from_millis(100));
    assert_eq!(admitted(&limiter, &checkout, SECOND + wait), 1);
    assert_eq!(admitted(&limiter, &checkout, SECOND * 2), 9);
    assert_eq!(admitted(&limiter, &checkout, SECOND * 60), 20, "no more than a burst is saved");
}

#[test]
fn each_sender_has_its_own_bucket_and_addresses_a_lower_rate() {
    let limiter = RateLimiter::new(limits(Sizer::Requests));
    assert_eq!(admitted(&limiter, &sender("a"), SECOND), 20);
    assert_eq!(admitted(&limiter, &sender("b"), SECOND), 20);
    assert_eq!(admitted(&limiter, &address("192.0.2.1"), SECOND), 20);
    assert_eq!(admitted(&limiter, &address("192.0.2.1"), SECOND * 2), 2);
    assert_eq!(admitted(&limiter, &address("192.0.2.2"), SECOND), 20);
    assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
    assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"), "one host has a /64");
    assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
}

#[test]
fn a_sender_sees_how_it_stands() {
    let limiter = RateLimiter::new(limits(Sizer::Requests));
    let standing = limiter.admit(sender("a"), SECOND).unwrap();
    let expected = Standing {
        remaining: 19,
        full_in: Duration::from_millis(100),
        quota: (20, Duration::from_secs(2)),
    };
    assert_eq!(standing, expected);
    assert_eq!(limiter.admit(sender("a"), SECOND).unwrap().remaining, 18);
}

#[test]
fn what_a_request_turns_out_to_cost_is_paid_off_before_the_next() {
    for sizer in [Sizer::Items, Sizer::Bytes] {
        let limiter = RateLimiter::new(limits(sizer));
        // Far over the burst: it has to be taken once, and then costs eight seconds.
        limiter.admit(sender("a"), SECOND).unwrap();
        limiter.charge(sender("a"), 100, SECOND);
        let wait = limiter.admit(sender("a"), SECOND).unwrap_err();
        assert_eq!(wait, Duration::from_millis(8_100));
        limiter.admit(sender("a"), SECOND + wait).unwrap();
        limiter.admit(sender("b"), SECOND).unwrap();
    }
}

#[test]
fn senders_without_room_share_a_bucket_and_the_known_keep_theirs() {
    let limiter = RateLimiter::with_room_for(2, limits(Sizer::Requests));
    for known in ["a", "b"] {
        limiter.admit(sender(known), SECOND).unwrap();
    }
    // The bucket of the rest comes on top: with the rate of strangers, for all of them together.
    assert_eq!(admitted(&limiter, &sender("c"), SECOND), 20);
    assert!(limiter.admit(address("192.0.2.1"), SECOND).is_err());
    assert_eq!(admitted(&limiter, &sender("a"), SECOND), 19);
    assert_eq!(limiter.buckets(), 3);
    // Once the others are full again there is room.
    assert_eq!(admitted(&limiter, &sender("c"), SECOND * 60), 20);
    assert!(limiter.buckets() <= 2);
}

#[test]
fn extreme_limits_neither_panic_nor_let_everything_in() {
    let now = Duration::from_secs(u64::MAX / 2);
    let huge = RateLimits { per_sender: u64::MAX, burst: u64::MAX, ..limits(Sizer::Bytes) };
    let limiter = RateLimiter::new(huge);
    limiter.admit(sender("a"), now).unwrap();
    limiter.charge(sender("a"), u64::MAX, now);
    let nothing = RateLimits { per_sender: 0, burst: 0, ..limits(Sizer::Requests) };
    assert!(RateLimiter::new(nothing).admit(sender("a"), now).is_err());
}
