//! What ten thousand screening rules cost a prompt of 2 KB that none of them hits, and one that some do.

use std::hint::black_box;

use criterion::Criterion;
use pixgate::{
    dialect::{CallHead, Endpoint, texts},
    domain::screening::{Action, Rule, RuleKind, Ruleset, Subject},
};

fn rule(index: usize, kind: RuleKind, pattern: String) -> Rule {
    Rule {
        id: format!("scr_{index:05}"),
        name: format!("rule {index}"),
        kind,
        pattern,
        action: Action::Block,
        enabled: true,
        priority: 0,
        case_sensitive: Some(false),
        whole_word: false,
        models: Vec::new(),
        endpoints: Vec::new(),
        moderator: None,
        note: None,
        bundled: None,
        created_at: 0,
        updated_at: 0,
    }
}

/// Half terms, half expressions, made of two words each as real lists are.
fn rules() -> Vec<Rule> {
    const WORDS: [&str; 10] = ["harbour", "lantern", "velvet", "copper", "thistle", "marble", "saffron", "willow", "granite", "meadow"];
    let word = |index: usize| WORDS[index % 10];
    let make = |index: usize| {
        let (first, second) = (word(index), word(index / 10));
        match index % 2 {
            0 => rule(index, RuleKind::Term, format!("{first} {second} {index}")),
            _ => rule(index, RuleKind::Regex, format!(r"\b{first}{index}\s+(?:the\s+)?{second}\b")),
        }
    };
    (0..10_000).map(make).collect()
}

pub fn bench(criterion: &mut Criterion) {
    let (ruleset, failed) = Ruleset::compile(rules(), &Ruleset::default());
    assert!(failed.is_empty());
    let sentence = "The copper lantern in the harbour gave little light, and the meadow behind the granite wall lay still. ";
    let clean: String = sentence.chars().cycle().take(2_048).collect();
    let accented: String = sentence.replace("little", "así, größer").chars().cycle().take(2_048).collect();
    let hit = format!("{clean} harbour lantern 10 and lantern11 the velvet");
    let mut group = criterion.benchmark_group("screening");
    for (name, text) in [("10 000 rules, 2 KB", &clean), ("10 000 rules, 2 KB with accents", &accented), ("10 000 rules, 2 KB, hits", &hit)]
    {
        let subject = Subject { text, bytes: text.len() as u64, messages: 1, model: "a/model", endpoint: "chat_completions" };
        group.bench_function(name, |bencher| bencher.iter(|| ruleset.matches(black_box(&subject), u64::MAX)));
    }
    let body = serde_json::json!({"model": "a/model", "messages": [{"role": "user", "content": clean}]}).to_string();
    let head = CallHead::new(Endpoint::ChatCompletions);
    group.bench_function("texts of a 2 KB call", |bencher| bencher.iter(|| texts::of_call(&head, black_box(body.as_bytes()))));
    group.finish();
}
