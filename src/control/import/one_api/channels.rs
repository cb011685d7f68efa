//! Channels and their models.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::value::RawValue;

use super::{ENABLED, Import};
use crate::{
    control::{
        ControlError,
        import::{
            Outcome,
            offer::{Offer, WantedModel, WantedUpstream},
            provider,
        },
    },
    domain::{
        catalog::{ModelKind, ProviderKind, Route},
        decimal,
        pricing::{Price, Unit},
    },
    store::foreign_one_api::{Channel, Family, OneApi},
    telemetry::redact::Secret,
};

const PRIORITY_MAX: i64 = 10_000;
const WEIGHT_MAX: i64 = 10_000;
/// Keys of one channel that become upstreams.
const KEYS_MAX: usize = 20;

/// What a channel's number stands for: our provider, the URL the other gateway takes without one, and what ours has behind it.
type Kind = (&'static str, &'static str, &'static str);

/// Numbers both projects agree on.
fn common_kind(number: i64) -> Option<Kind> {
    Some(match number {
        1 => ("openai", "https://api.openai.com", "/v1"),
        3 => ("azure", "", ""),
        6 => ("openai_compatible", "https://api.openaimax.com", "/v1"),
        7 => ("openai_compatible", "https://api.ohmygpt.com", "/v1"),
        8 => ("openai_compatible", "", "/v1"),
        12 => ("openai_compatible", "https://api.api2gpt.com", "/v1"),
        13 => ("openai_compatible", "https://api.aigc2d.com", "/v1"),
        14 => ("anthropic", "https://api.anthropic.com", ""),
        16 => ("openai_compatible", "https://open.bigmodel.cn", "/api/paas/v4"),
        17 => ("openai_compatible", "https://dashscope.aliyuncs.com", "/compatible-mode/v1"),
        20 => ("openrouter", "https://openrouter.ai/api", "/v1"),
        22 => ("openai_compatible", "https://fastgpt.run/api/openapi", "/v1"),
        24 => ("gemini", "https://generativelanguage.googleapis.com", ""),
        25 => ("openai_compatible", "https://api.moonshot.cn", "/v1"),
        31 => ("openai_compatible", "https://api.lingyiwanwu.com", "/v1"),
        _ => return None,
    })
}

fn one_api_kind(number: i64) -> Option<Kind> {
    Some(match number {
        26 => ("openai_compatible", "https://api.baichuan-ai.com", "/v1"),
        28 => ("mistral", "https://api.mistral.ai", "/v1"),
        29 => ("groq", "https://api.groq.com/openai", "/v1"),
        30 => ("ollama", "http://localhost:11434", "/v1"),
        32 => ("openai_compatible", "https://api.stepfun.com", "/v1"),
        35 => ("cohere", "https://api.cohere.com", ""),
        36 => ("deepseek", "https://api.deepseek.com", "/v1"),
        39 => ("together", "https://api.together.xyz", "/v1"),
        40 => ("openai_compatible", "https://ark.cn-beijing.volces.com", "/api/v3"),
        41 => ("openai_compatible", "https://api.novita.ai/v3/openai", ""),
        44 => ("openai_compatible", "https://api.siliconflow.cn", "/v1"),
        45 => ("xai", "https://api.x.ai", "/v1"),
        49 => ("openai_compatible", "https://dashscope.aliyuncs.com", "/compatible-mode/v1"),
        50 => ("openai_compatible", "", ""),
        _ => return None,
    })
}

fn new_api_kind(number: i64) -> Option<Kind> {
    Some(match number {
        4 => ("ollama", "http://localhost:11434", "/v1"),
        26 => ("openai_compatible", "https://open.bigmodel.cn", "/api/paas/v4"),
        27 => ("perplexity", "https://api.perplexity.ai", ""),
        34 => ("cohere", "https://api.cohere.com", ""),
        40 => ("openai_compatible", "https://api.siliconflow.cn", "/v1"),
        42 => ("mistral", "https://api.mistral.ai", "/v1"),
        43 => ("deepseek", "https://api.deepseek.com", "/v1"),
        45 => ("openai_compatible", "https://ark.cn-beijing.volces.com", "/api/v3"),
        46 => ("openai_compatible", "https://qianfan.baidubce.com", "/v2"),
        47 => ("openai_compatible", "", "/v1"),
        48 => ("xai", "https://api.x.ai", "/v1"),
        _ => return None,
    })
}

/// The provider and the URL of a channel's upstream.
fn place_of(channel: &Channel, family: Family) -> Result<(ProviderKind, String), String> {
    let own = match family {
        Family::OneApi => one_api_kind,
        Family::NewApi => new_api_kind,
    };
    let kind = common_kind(channel.kind).or_else(|| own(channel.kind));
    let (kind, default, behind) = kind.ok_or_else(|| format!("channels of type {} have no counterpart here", channel.kind))?;
    let provider = provider::parse(kind)?;
    let given = channel.base_url.trim().trim_end_matches('/');
    let base = given.strip_suffix("/chat/completions").unwrap_or(given);
    match (base.is_empty(), default.is_empty()) {
        (true, true) => Err("it has no base URL".to_owned()),
        (true, false) => Ok((provider, format!("{default}{behind}"))),
        (false, _) if base.ends_with(behind) => Ok((provider, base.to_owned())),
        (false, _) => Ok((provider, format!("{base}{behind}"))),
    }
}

/// The ratios that prices are made of, by model.
#[derive(Default)]
struct Ratios {
    model: BTreeMap<String, Decimal>,
    completion: BTreeMap<String, Decimal>,
    /// Credits a call.
    fixed: BTreeMap<String, Decimal>,
}

impl Ratios {
    fn of(options: &[(String, String)]) -> Self {
        let map = |name: &str| {
            let text = options.iter().find(|(option, _)| option == name).map_or("{}", |(_, value)| value.as_str());
            let entries: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).unwrap_or_default();
            entries.into_iter().filter_map(|(model, ratio)| Some((model, decimal::parse(ratio.get()).ok()?))).collect()
        };
        Self { model: map("ModelRatio"), completion: map("CompletionRatio"), fixed: map("ModelPrice") }
    }

    /// The price of a model, when the options say all of it. A ratio of 1 is one quota unit a token.
    fn prices(&self, model: &str, kind: ModelKind, units_per_credit: i64) -> Option<Vec<Price>> {
        if let Some(credits) = self.fixed.get(model) {
            return Some(vec![decimal::price(Unit::Request, *credits)?]);
        }
        let input = self.model.get(model)?.checked_div(Decimal::from(units_per_credit))?;
        let price = decimal::price(Unit::InputToken, input)?;
        if kind == ModelKind::Embedding {
            return Some(vec![price]);
        }
        let output = input.checked_mul(*self.completion.get(model)?)?;
        Some(vec![price, decimal::price(Unit::OutputToken, output)?])
    }
}

/// Names tell kinds apart; the database does not.
fn kind_of(model: &str) -> ModelKind {
    let name = model.to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    match () {
        () if has(&["embedding", "bge-", "embed-"]) => ModelKind::Embedding,
        () if has(&["rerank"]) => ModelKind::Rerank,
        () if has(&["dall-e", "gpt-image", "stable-diffusion", "flux"]) => ModelKind::Image,
        () if has(&["whisper", "tts"]) => ModelKind::Audio,
        () if has(&["moderation"]) => ModelKind::Moderation,
        () => ModelKind::Chat,
    }
}

impl Import<'_> {
    /// Upstreams of all channels, then the models they serve.
    pub(super) async fn channels(&mut self, database: &OneApi) -> Result<(), ControlError> {
        let mut offer = Offer::load(self.control).await?;
        let ratios = Ratios::of(&database.options);
        let mut routes: BTreeMap<String, Vec<Route>> = BTreeMap::new();
        for channel in &database.channels {
            let upstreams = self.channel(&mut offer, channel, database.family).await?;
            let mapping: BTreeMap<String, String> = serde_json::from_str(&channel.model_mapping).unwrap_or_default();
            let names = channel.models.split(',').map(str::trim).filter(|name| !name.is_empty());
            for name in names {
                let routes = routes.entry(name.to_owned()).or_default();
                routes.extend(upstreams.iter().map(|upstream| Route {
                    upstream: upstream.clone(),
                    upstream_model: mapping.get(name).cloned().unwrap_or_else(|| name.to_owned()),
                    weight: u32::try_from(channel.weight.clamp(1, WEIGHT_MAX)).unwrap_or(1),
                    // There a higher number is tried first, here a lower one.
                    priority: i32::try_from(-channel.priority.clamp(-PRIORITY_MAX, PRIORITY_MAX)).unwrap_or(0),
                    costs: Vec::new(),
                }));
            }
        }
        for (id, mut routes) in routes {
            if routes.is_empty() {
                self.report.add("model", id, Outcome::LeftOut, "none of its channels is imported");
                continue;
            }
            let mut seen = Vec::new();
            routes.retain(|route| {
                let target = (route.upstream.clone(), route.upstream_model.clone());
                let is_new = !seen.contains(&target);
                seen.push(target);
                is_new
            });
            let kind = kind_of(&id);
            let prices = ratios.prices(&id, kind, self.units_per_credit);
            let note = if prices.is_some() { "group ratios are not carried over" } else { "" };
            let wanted = WantedModel {
                priced_like: Vec::new(),
                id,
                kind,
                context_window: None,
                max_output_tokens: None,
                prices,
                routes,
                note: note.to_owned(),
            };
            offer.model(wanted, &mut self.report).await?;
        }
        Ok(())
    }

    /// The upstreams of a channel, one a key.
    async fn channel(&mut self, offer: &mut Offer<'_>, channel: &Channel, family: Family) -> Result<Vec<String>, ControlError> {
        let name = format!("{} ({})", channel.name, channel.id);
        let (provider, base_url) = match place_of(channel, family) {
            Ok(place) => place,
            Err(why) => {
                self.report.add("upstream", name, Outcome::LeftOut, why);
                return Ok(Vec::new());
            }
        };
        let keys: Vec<&str> = channel.key.expose().lines().map(str::trim).filter(|key| !key.is_empty()).collect();
        if keys.len() > KEYS_MAX {
            self.report.add("upstream", name.clone(), Outcome::LeftOut, format!("only {KEYS_MAX} of its {} keys are imported", keys.len()));
        }
        let keys = if keys.is_empty() { vec![""] } else { keys };
        let mut upstreams = Vec::new();
        for key in keys.into_iter().take(KEYS_MAX) {
            let wanted = WantedUpstream {
                name: format!("{}-{}", self.source, channel.id),
                provider,
                base_url: base_url.clone(),
                api_key: Some(Secret::new(key)),
                max_concurrency: None,
                total_ms: None,
                enabled: channel.status == ENABLED,
                note: channel.name.clone(),
            };
            upstreams.extend(offer.upstream(wanted, &mut self.report).await?);
        }
        Ok(upstreams)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(kind: i64, base_url: &str) -> Channel {
        Channel {
            id: 1,
            kind,
            key: Secret::new("k"),
            status: 1,
            name: "c".to_owned(),
            weight: 0,
            base_url: base_url.to_owned(),
            models: String::new(),
            model_mapping: String::new(),
            priority: 0,
        }
    }

    #[test]
    fn channels_lead_where_they_led() {
        use ProviderKind::{Deepseek, Openai, OpenaiCompatible};
        for (family, kind, base_url, provider, expected) in [
            (Family::OneApi, 1, "", Openai, "https://api.openai.com/v1"),
            (Family::OneApi, 1, "http://localhost:9000/", Openai, "http://localhost:9000/v1"),
            (Family::NewApi, 1, "http://localhost:9000/v1", Openai, "http://localhost:9000/v1"),
            (Family::NewApi, 8, "http://h/v1/chat/completions", OpenaiCompatible, "http://h/v1"),
            (Family::NewApi, 43, "", Deepseek, "https://api.deepseek.com/v1"),
            (Family::OneApi, 50, "http://h/openai", OpenaiCompatible, "http://h/openai"),
            (Family::OneApi, 40, "", OpenaiCompatible, "https://ark.cn-beijing.volces.com/api/v3"),
            (Family::NewApi, 40, "", OpenaiCompatible, "https://api.siliconflow.cn/v1"),
        ] {
            assert_eq!(place_of(&channel(kind, base_url), family), Ok((provider, expected.to_owned())), "{family:?} {kind}");
        }
        assert!(place_of(&channel(8, ""), Family::OneApi).is_err());
        assert!(place_of(&channel(2, ""), Family::OneApi).unwrap_err().contains("type 2"));
    }

    #[test]
    fn ratios_become_exact_prices() {
        let options =
            [("ModelRatio", r#"{"a":0.075,"e":0.01,"x":1,"b":"?"}"#), ("CompletionRatio", r#"{"a":4}"#), ("ModelPrice", r#"{"d":0.04}"#)];
        let options: Vec<_> = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let ratios = Ratios::of(&options);
        let prices = |model: &str, kind| {
            let prices = ratios.prices(model, kind, 500_000)?;
            Some(prices.into_iter().map(|price| (price.unit, price.micros, price.per)).collect::<Vec<_>>())
        };
        let expected = vec![(Unit::InputToken, 150_000, 1_000_000), (Unit::OutputToken, 600_000, 1_000_000)];
        assert_eq!(prices("a", ModelKind::Chat), Some(expected));
        assert_eq!(prices("e", ModelKind::Embedding), Some(vec![(Unit::InputToken, 20_000, 1_000_000)]));
        assert_eq!(prices("d", ModelKind::Image), Some(vec![(Unit::Request, 40_000, 1)]));
        assert_eq!(prices("x", ModelKind::Chat), None, "the price of output is not known");
        assert_eq!(prices("b", ModelKind::Chat), None);
    }

    #[test]
    fn kinds_follow_names() {
        for (name, kind) in [
            ("text-embedding-3-small", ModelKind::Embedding),
            ("dall-e-3", ModelKind::Image),
            ("whisper-1", ModelKind::Audio),
            ("gpt-4o", ModelKind::Chat),
        ] {
            assert_eq!(kind_of(name), kind, "{name}");
        }
    }
}
