use std::collections::{BTreeMap, BTreeSet};

use super::{
    litellm,
    offer::{Offer, Only, Parsed, Wishes},
    own,
    plan::{Action, Plan, Routes, Rules, plan},
    table, *,
};
use crate::domain::{
    catalog::{ModelKind, ProviderKind, Upstream},
    pricing::{Price, Unit, validate},
};

fn parsed(text: &str) -> Parsed {
    litellm::parse(text, &Wishes::default()).unwrap()
}

fn one(text: &str) -> Offer {
    let parsed = parsed(text);
    assert_eq!((parsed.offers.len(), &parsed.refused), (1, &vec![]));
    parsed.offers.into_iter().next().unwrap()
}

fn per_million(unit: Unit, micros: i64) -> Price {
    Price::new(unit, micros, 1_000_000)
}

#[test]
fn an_entry_of_litellm_becomes_a_model_with_exact_prices() {
    let offer = one(r#"{
        "sample_spec": {"mode": "chat", "litellm_provider": "one of many"},
        "claude-x": {
            "litellm_provider": "anthropic", "mode": "chat", "max_input_tokens": 200000, "max_output_tokens": 64000.0,
            "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05, "cache_read_input_token_cost": 3e-07,
            "cache_creation_input_token_cost": 3.75e-06, "cache_creation_input_token_cost_above_1hr": 6e-06,
            "input_cost_per_token_above_200k_tokens": 6e-06, "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 1.2e-05,
            "input_cost_per_token_batches": 1.5e-06, "output_cost_per_token_above_200k_tokens_priority": 9e-05,
            "search_context_cost_per_query": {"search_context_size_low": 0.005, "search_context_size_high": 0.01},
            "deprecation_date": "2026-11-30", "supports_vision": true, "supports_sampling_params": false, "supports_reasoning": null
        }
    }"#);
    assert_eq!((offer.id.as_str(), offer.provider.as_str()), ("anthropic/claude-x", "anthropic"));
    assert_eq!((offer.upstream_model.as_str(), offer.aliases.as_slice()), ("claude-x", &["claude-x".to_owned()][..]));
    assert_eq!((offer.kind, offer.max_input_tokens, offer.max_output_tokens), (ModelKind::Chat, Some(200_000), Some(64_000)));
    assert_eq!((offer.owner.as_deref(), offer.deprecated_at.as_deref()), (Some("anthropic"), Some("2026-11-30")));
    let known = offer.capabilities;
    assert_eq!((known.vision, known.sampling, known.reasoning, known.tools), (Some(true), Some(false), None, None));
    assert_eq!(
        offer.prices,
        [
            per_million(Unit::InputToken, 3_000_000),
            per_million(Unit::InputToken, 6_000_000).above(200_000),
            per_million(Unit::OutputToken, 15_000_000),
            per_million(Unit::CachedInputToken, 300_000),
            per_million(Unit::CacheWriteToken, 3_750_000),
            per_million(Unit::CacheWrite1hToken, 6_000_000),
            per_million(Unit::CacheWrite1hToken, 12_000_000).above(200_000),
            Price::new(Unit::Search, 10_000, 1),
        ]
    );
}

#[test]
fn kinds_are_priced_by_what_they_make() {
    let check = |fields: &str, kind: ModelKind, expected: &[Price]| {
        let offer = one(&format!(r#"{{"p/m": {{"litellm_provider": "p", {fields}}}}}"#));
        assert_eq!((offer.kind, offer.prices.as_slice()), (kind, expected), "{fields}");
    };
    check(
        r#""mode":"image_generation","output_cost_per_image":0.04,"output_cost_per_image_1536":0.06"#,
        ModelKind::Image,
        &[Price::new(Unit::Image, 60_000, 1)],
    );
    // By tokens or by image, never both.
    check(
        r#""mode":"image_generation","output_cost_per_image":0.04,"output_cost_per_image_token":3e-05"#,
        ModelKind::Image,
        &[per_million(Unit::ImageOutputToken, 30_000_000)],
    );
    check(
        r#""mode":"audio_transcription","input_cost_per_second":0.0001,"output_cost_per_second":0.0001"#,
        ModelKind::Audio,
        &[Price::new(Unit::AudioSecond, 100, 1)],
    );
    check(r#""mode":"audio_speech","input_cost_per_character":1.5e-05"#, ModelKind::Audio, &[per_million(Unit::Character, 15_000_000)]);
    check(
        r#""mode":"video_generation","output_cost_per_second":0.1,"output_cost_per_second_1080p":0.3"#,
        ModelKind::Video,
        &[Price::new(Unit::VideoSecond, 300_000, 1)],
    );
    check(
        r#""mode":"rerank","input_cost_per_query":0.002,"input_cost_per_token":0.0"#,
        ModelKind::Rerank,
        &[per_million(Unit::InputToken, 0), Price::new(Unit::Request, 2_000, 1)],
    );
    check(
        r#""mode":"embedding","input_cost_per_token":2e-08,"output_cost_per_token":0"#,
        ModelKind::Embedding,
        &[per_million(Unit::InputToken, 20_000), per_million(Unit::OutputToken, 0)],
    );
    let ranges = r#""mode":"chat","tiered_pricing":[
        {"range":[256000.0,1000000.0],"input_cost_per_token":2.5e-07,"output_cost_per_token":2e-06},
        {"range":[0,256000.0],"input_cost_per_token":5e-08,"output_cost_per_token":4e-07}]"#;
    check(
        ranges,
        ModelKind::Chat,
        &[
            per_million(Unit::InputToken, 50_000),
            per_million(Unit::InputToken, 250_000).above(256_000),
            per_million(Unit::OutputToken, 400_000),
            per_million(Unit::OutputToken, 2_000_000).above(256_000),
        ],
    );
}

#[test]
fn what_has_no_price_of_its_own_falls_back() {
    let offer = one(r#"{"p/m": {"litellm_provider": "p", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06,
        "cache_creation_input_token_cost": 0, "cache_read_input_token_cost": 0.0, "input_cost_per_audio_token_above_200k_tokens": 9e-06}}"#);
    let free_reads = per_million(Unit::CachedInputToken, 0);
    assert_eq!(offer.prices, [per_million(Unit::InputToken, 1_000_000), per_million(Unit::OutputToken, 2_000_000), free_reads]);
}

#[test]
fn without_a_price_nothing_is_free() {
    for prices in [
        "",
        r#","input_cost_per_token":0,"output_cost_per_token":0.0"#,
        r#","output_cost_per_token":1e-06"#,
        r#","input_cost_per_token":1e-06,"output_cost_per_token":null"#,
        r#","search_context_cost_per_query":{"search_context_size_low":0.01}"#,
    ] {
        let offer = one(&format!(r#"{{"p/m": {{"litellm_provider": "p", "mode": "chat"{prices}}}}}"#));
        assert_eq!(offer.prices, [], "{prices}");
    }
}

#[test]
fn one_bad_entry_does_not_spoil_the_file() {
    let parsed = parsed(
        r#"{
        "p/good": {"litellm_provider": "p", "mode": "rerank", "input_cost_per_query": 1},
        "p/negative": {"litellm_provider": "p", "mode": "rerank", "input_cost_per_query": -1},
        "p/words": {"litellm_provider": "p", "mode": "rerank", "input_cost_per_query": "much"},
        "p/tier": {"litellm_provider": "p", "mode": "chat", "input_cost_per_token_above_200k_tokens": 1e-6, "output_cost_per_token": 1e-6},
        "p/list": [],
        "p/search": {"litellm_provider": "p", "mode": "search"},
        "nobody": {"mode": "chat"}
    }"#,
    );
    assert_eq!(parsed.offers.len(), 1);
    let refused: Vec<&str> = parsed.refused.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!((refused, parsed.left_out), (vec!["p/list", "p/negative", "p/tier", "p/words"], 2));
    for bad in ["", "[]", "{", "7", r#"{"a":"#] {
        assert!(litellm::parse(bad, &Wishes::default()).is_err(), "{bad}");
    }
}

#[test]
fn names_are_given_where_they_are_unambiguous() {
    let entry = |provider: &str| format!(r#"{{"litellm_provider": "{provider}", "mode": "chat"}}"#);
    let (openai, azure, vertex, groq) = (entry("openai"), entry("azure"), entry("vertex_ai-language-models"), entry("groq"));
    let parsed = parsed(&format!(
        r#"{{"gpt": {openai}, "azure/gpt": {azure}, "azure/own": {azure}, "pro": {vertex}, "vertex_ai/pro": {vertex}, "groq/a/b": {groq}}}"#
    ));
    let names: BTreeMap<&str, Vec<&str>> =
        parsed.offers.iter().map(|offer| (offer.id.as_str(), offer.aliases.iter().map(String::as_str).collect())).collect();
    let expected = [
        ("azure/gpt", vec![]),
        ("azure/own", vec!["own"]),
        ("groq/a/b", vec!["a/b"]),
        ("openai/gpt", vec!["gpt"]),
        ("vertex_ai/pro", vec!["pro"]),
    ];
    assert_eq!(names, BTreeMap::from(expected));
}

#[test]
fn the_own_format_and_tables_say_the_same() {
    let text = r#"{"models": [
        {"id": "a/m", "kind": "chat", "max_output_tokens": 9, "aliases": ["x", "y"],
         "prices": [{"unit": "input_token", "micros": 150000, "per": 1000000},
                    {"unit": "input_token", "micros": 300000, "per": 1000000, "above_input_tokens": 200000},
                    {"unit": "image", "micros": 40000, "per": 1}]},
        {"id": "a/free", "kind": "embedding", "provider": "b", "upstream_model": "c", "owner": "d", "deprecated_at": "2027-01-01"}]}"#;
    let table = "\u{feff}id,kind,provider,upstream_model,owner,deprecated_at,max_output_tokens,aliases,input_token_per_million,\
        input_token_above_200000_per_million,image\n\
        a/m, chat,,,,,9,\"x y\",0.15,0.3,0.04\r\na/free,embedding,b,c,d,2027-01-01,,,,,\n";
    let markup = Wishes { markup: "1.2".parse().unwrap(), ..Wishes::default() };
    for wishes in [Wishes::default(), markup] {
        let own = own::parse(text, &wishes).unwrap();
        assert_eq!(own.refused, []);
        assert_eq!(own, table::parse(table.trim_start_matches('\u{feff}'), &wishes).unwrap());
    }
    let marked = own::parse(text, &Wishes { markup: "1.2".parse().unwrap(), ..Wishes::default() }).unwrap();
    assert_eq!(marked.offers[0].prices[0], per_million(Unit::InputToken, 180_000));
    assert_eq!(marked.offers[0].upstream_model, "m");
    assert_eq!(Format::Auto.told_from(text), Format::Pixgate);
    assert_eq!(Format::Auto.told_from(table), Format::Csv);
    assert_eq!(Format::Auto.told_from(r#" {"a/b": {}}"#), Format::Litellm);
}

#[test]
fn what_cannot_be_read_is_named() {
    let own = |text: &str| own::parse(text, &Wishes::default());
    let refused = own(r#"{"models": [{"id": "a", "kind": "magic"}, 7, {"id": "b", "kind": "chat", "colour": 1},
        {"id": "c", "kind": "chat", "prices": [{"unit": "image", "micros": 1, "per": 0}]},
        {"id": "d", "kind": "chat"}, {"id": "d", "kind": "chat"}]}"#)
    .unwrap();
    let names: Vec<&str> = refused.refused.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!((names, refused.offers.len()), (vec!["a", "models[1]", "b", "c", "d"], 1));
    assert!(own("{}").is_err() && own(r#"{"models": 1}"#).is_err() && own(r#"{"models": [], "more": 1}"#).is_err());
    let table = |text: &str| table::parse(text, &Wishes::default());
    for bad in ["", "id,price\n", "id\na", "id,kind,input_tokens\n", "id,kind,image_above_x\n"] {
        assert!(table(bad).is_err(), "{bad}");
    }
    let refused = table("id,kind,image\na,chat,free\nb,magic,1\nc,chat\n,chat,1\nd,chat,1\n").unwrap();
    let names: Vec<&str> = refused.refused.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!((names, refused.offers.len()), (vec!["a", "b", "c", "line 5"], 1));
}

fn upstream(name: &str, provider: ProviderKind, enabled: bool) -> Upstream {
    Upstream { enabled, ..Upstream::new(name, provider, 0) }
}

/// The models after an import, and what it says.
struct Shop {
    models: Vec<Model>,
    upstreams: Vec<Upstream>,
}

impl Shop {
    fn new() -> Self {
        Self { models: Vec::new(), upstreams: vec![upstream("mine", ProviderKind::Openai, true)] }
    }

    fn plan(&self, text: &str, force: bool) -> Plan {
        let parsed = parsed(text);
        let providers: BTreeSet<&str> = parsed.offers.iter().map(|offer| offer.provider.as_str()).collect();
        let routes = Routes::find(&self.upstreams, &BTreeMap::new(), &providers).unwrap();
        let source = PriceSource { name: "litellm".to_owned(), file_sha256: "hash".to_owned(), imported_at: 7 };
        plan(parsed.clone(), &self.models, &Rules { only: &Only::default(), routes, source, force, now: 7 })
    }

    /// Imports, and answers what happened to `openai/m`.
    fn import(&mut self, text: &str, force: bool) -> (Action, Option<String>) {
        let plan = self.plan(text, force);
        for model in plan.models {
            self.models.retain(|known| known.id != model.id);
            self.models.push(model);
        }
        let entry = plan.entries.into_iter().find(|entry| entry.id == "openai/m").unwrap();
        (entry.action, entry.why)
    }

    fn model(&self) -> &Model {
        self.models.iter().find(|model| model.id == "openai/m").unwrap()
    }
}

fn list(input: &str, output: &str) -> String {
    format!(r#"{{"m": {{"litellm_provider":"openai","mode":"chat","input_cost_per_token":{input},"output_cost_per_token":{output}}}}}"#)
}

#[test]
fn the_same_file_again_changes_nothing() {
    let mut shop = Shop::new();
    assert_eq!(shop.import(&list("1e-6", "2e-6"), false), (Action::Added, None));
    let model = shop.model().clone();
    assert!(model.enabled && model.aliases == ["m"]);
    assert_eq!((model.routes[0].upstream.as_str(), model.routes[0].upstream_model.as_str()), ("mine", "m"));
    assert_eq!(shop.import(&list("1e-6", "2e-6"), false), (Action::Unchanged, None));
    assert_eq!(shop.import(&list("0.000001", "2.0e-06"), false).0, Action::Unchanged, "however it is written");
    assert_eq!(shop.model(), &model);
}

#[test]
fn a_price_that_leaps_needs_force() {
    let mut shop = Shop::new();
    shop.import(&list("1e-6", "2e-6"), false);
    assert_eq!(shop.import(&list("1e-5", "2e-7"), false).0, Action::Changed, "tenfold is not more than tenfold");
    let (action, why) = shop.import(&list("1.01e-4", "2e-7"), false);
    assert_eq!((action, why.unwrap().contains("input_token goes from 10 per million to 101 per million")), (Action::Refused, true));
    for (input, output) in [("9e-7", "2e-7"), ("1e-5", "0"), ("1e-5", "1.9e-8"), ("0", "2e-7")] {
        assert_eq!(shop.import(&list(input, output), false).0, Action::Refused, "{input} {output}");
    }
    assert!(shop.plan(&list("9e-7", "2e-7"), false).has_leaps);
    assert_eq!(shop.import(&list("9e-7", "2e-7"), true).0, Action::Changed);
    // A price that vanishes leaves the known one.
    assert_eq!(shop.import(&list("0", "0"), true).0, Action::Refused);
    assert_eq!(shop.model().prices[0], per_million(Unit::InputToken, 900_000));
}

#[test]
fn what_an_admin_decided_stays() {
    let mut shop = Shop::new();
    shop.import(&list("1e-6", "2e-6"), false);
    let model = shop.models.first_mut().unwrap();
    (model.enabled, model.display_name, model.routes[0].weight) = (false, "Mine".to_owned(), 9);
    model.aliases.clear();
    shop.import(&list("2e-6", "2e-6"), false);
    let model = shop.model();
    assert_eq!((model.enabled, model.display_name.as_str(), model.routes[0].weight, model.aliases.len()), (false, "Mine", 9, 0));
    assert_eq!(model.prices[0], per_million(Unit::InputToken, 2_000_000));
}

#[test]
fn a_model_is_offered_once_it_has_a_price_and_an_upstream() {
    let mut shop = Shop::new();
    shop.upstreams[0].enabled = false;
    let (action, why) = shop.import(&list("0", "0"), false);
    assert_eq!((action, why.as_deref()), (Action::Added, Some("disabled: price unknown")));
    assert!(!shop.model().enabled && shop.model().is_price_unknown());
    shop.import(&list("1e-6", "1e-6"), false);
    assert!(!shop.model().enabled && !shop.model().is_price_unknown());
    shop.upstreams[0].enabled = true;
    assert_eq!(shop.import(&list("1e-6", "1e-6"), false).0, Action::Changed);
    assert!(shop.model().enabled && shop.model().routes.len() == 1);
}

#[test]
fn what_a_file_has_lost_is_reported_and_kept() {
    let mut shop = Shop::new();
    shop.import(&list("1e-6", "2e-6"), false);
    assert_eq!(shop.import("{}", false).0, Action::Missing);
    assert_eq!(shop.models.len(), 1);
    shop.models[0].source = None;
    assert_eq!(shop.plan("{}", false).entries, [], "what an admin priced is not the file's");
}

#[test]
fn an_id_that_is_somebodys_alias_is_refused() {
    let mut shop = Shop::new();
    shop.import(&list("1e-6", "2e-6"), false);
    shop.models[0].aliases = vec!["openai/n".to_owned()];
    let plan = shop.plan(r#"{"n": {"litellm_provider":"openai","mode":"chat"}}"#, false);
    let entry = plan.entries.iter().find(|entry| entry.id == "openai/n").unwrap();
    assert_eq!((entry.action, entry.why.as_deref()), (Action::Refused, Some("openai/n is an alias of the model openai/m")));
}

#[test]
fn upstreams_are_found_by_word_name_and_kind() {
    let upstreams = [
        upstream("groq", ProviderKind::Openai, true),
        upstream("local", ProviderKind::Openai, true),
        upstream("off", ProviderKind::Openai, false),
    ];
    let check = |wanted: &[(&str, &str)], expected: &[(&str, Option<&str>)]| {
        let wanted = wanted.iter().map(|(name, provider)| ((*name).to_owned(), (*provider).to_owned())).collect();
        let providers = expected.iter().map(|(provider, _)| *provider).collect();
        let routes = Routes::find(&upstreams, &wanted, &providers).unwrap();
        for (provider, upstream) in expected {
            let text = format!(r#"{{"x/m": {{"litellm_provider":"{provider}","mode":"chat"}}}}"#);
            let found = routes.of(&one(&text)).map(|route| route.upstream);
            assert_eq!(found.as_deref(), *upstream, "{provider}");
        }
    };
    check(&[], &[("groq", Some("groq")), ("openai", Some("local")), ("anthropic", None)]);
    check(&[("local", "together_ai")], &[("groq", Some("groq")), ("openai", None), ("together_ai", Some("local"))]);
    check(&[("groq", "openai")], &[("groq", None), ("openai", Some("groq"))]);
    for name in ["off", "nowhere"] {
        assert!(Routes::find(&upstreams, &BTreeMap::from([(name.to_owned(), "x".to_owned())]), &BTreeSet::new()).is_err());
    }
}

#[test]
fn the_bundled_catalogue_can_be_used() {
    let (parsed, name, _) = read(&Origin::Bundled, Format::Auto, &Wishes::default()).unwrap();
    assert_eq!((name.as_str(), parsed.refused.as_slice(), parsed.left_out), ("bundled", &[][..], 0));
    assert!(parsed.offers.len() > 2_500, "{}", parsed.offers.len());
    for offer in &parsed.offers {
        assert_eq!(validate(&offer.prices), Ok(()), "{}", offer.id);
    }
    let refused = plan(
        parsed,
        &[],
        &Rules {
            only: &Only::default(),
            routes: Routes::default(),
            source: PriceSource { name, file_sha256: String::new(), imported_at: 0 },
            force: false,
            now: 0,
        },
    );
    let refused: Vec<_> = refused.entries.iter().filter(|entry| entry.action == Action::Refused).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let import = Import {
        origin: Origin::Bundled,
        format: Format::Auto,
        only: None,
        markup: None,
        upstreams: BTreeMap::new(),
        dry_run: false,
        force: false,
    };
    let used = Quantities { input_tokens: 500, cached_input_tokens: 500, output_tokens: 100, ..Quantities::default() };
    assert_eq!(Calculator::of(&import).unwrap().cost("claude-sonnet-4-5", &used).unwrap(), 3_150);
}
