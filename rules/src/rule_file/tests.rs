use super::*;

const RULE: &str = "
groups:
  - name: payload
    interval: 30s
    rules:
      - rule: Growth
        sql: SELECT 1 AS service
        subject: [service]
        for: 2m
";

fn refusal(text: &str) -> String {
    parse("my.yaml", text).unwrap_err().to_string()
}

#[test]
fn a_file_is_read_with_its_defaults() {
    let file = parse("my.yaml", RULE).unwrap();
    let group = &file.groups[0];
    assert_eq!(group.interval, Duration::from_secs(30));
    assert_eq!(group.rules[0].held_for, Duration::from_mins(2));
    let without = RULE.replace("    interval: 30s\n", "").replace("        for: 2m\n", "");
    let file = parse("my.yaml", &without).unwrap();
    assert_eq!(file.groups[0].interval, INTERVAL_DEFAULT);
    assert_eq!(file.groups[0].rules[0].held_for, Duration::ZERO);
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known() {
    let message = refusal(&RULE.replace("subject:", "subjekt:"));
    assert!(message.contains("my.yaml") && message.contains("`subjekt`"), "{message}");
    assert!(message.contains("did you mean `subject`?"), "{message}");
}

#[test]
fn what_cannot_be_evaluated_is_refused() {
    let cases = [
        (RULE.replace("[service]", "[]"), "`subject` names no column"),
        (RULE.replace("SELECT 1 AS service", "''"), "the query is empty"),
        (RULE.replace("30s", "0s"), "the interval is zero"),
        (RULE.replace("30s", "-1m"), "negative"),
        (RULE.replace("30s", "soon"), "`soon` is no duration"),
    ];
    for (text, expected) in cases {
        let message = refusal(&text);
        assert!(message.contains(expected), "{message}");
    }
}
