//! The `usage` object: read into disjoint quantities, and written with what the call cost.

use serde::Deserialize;

use crate::{
    dialect::{Charge, cost, counts::Count, json},
    domain::pricing::Quantities,
};

/// What a usage object says. In a stream it comes in two parts, the later one cumulative.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Reported {
    #[serde(default)]
    input_tokens: Option<Count>,
    #[serde(default)]
    cache_read_input_tokens: Option<Count>,
    #[serde(default)]
    cache_creation_input_tokens: Option<Count>,
    #[serde(default)]
    cache_creation: Option<CacheCreation>,
    #[serde(default)]
    output_tokens: Option<Count>,
    #[serde(default)]
    output_tokens_details: Option<OutputDetails>,
    #[serde(default)]
    server_tool_use: Option<ServerTools>,
}

#[derive(Debug, Deserialize)]
struct CacheCreation {
    #[serde(default)]
    ephemeral_1h_input_tokens: Option<Count>,
}

#[derive(Debug, Deserialize)]
struct ServerTools {
    #[serde(default)]
    web_search_requests: Option<Count>,
}

#[derive(Debug, Deserialize)]
struct OutputDetails {
    #[serde(default)]
    thinking_tokens: Option<Count>,
}

impl Reported {
    /// `None` when it is no usage object; then we count ourselves.
    pub fn read(raw: &str) -> Option<Self> {
        if !json::is_object(raw) {
            return None;
        }
        let reported: Self = serde_json::from_str(raw).ok()?;
        (reported.input_tokens.is_some() || reported.output_tokens.is_some()).then_some(reported)
    }

    /// This report with what only an earlier one of the same answer said.
    pub fn after(self, earlier: Option<Self>) -> Self {
        let Some(earlier) = earlier else { return self };
        Self {
            input_tokens: self.input_tokens.or(earlier.input_tokens),
            cache_read_input_tokens: self.cache_read_input_tokens.or(earlier.cache_read_input_tokens),
            cache_creation_input_tokens: self.cache_creation_input_tokens.or(earlier.cache_creation_input_tokens),
            cache_creation: self.cache_creation.or(earlier.cache_creation),
            output_tokens: self.output_tokens.or(earlier.output_tokens),
            output_tokens_details: self.output_tokens_details.or(earlier.output_tokens_details),
            server_tool_use: self.server_tool_use.or(earlier.server_tool_use),
        }
    }

    /// Anthropic counts cached tokens outside of `input_tokens`, and thinking inside of `output_tokens`.
    pub fn quantities(&self) -> Quantities {
        let count = |count: Option<Count>| count.map_or(0, |count| count.0);
        let output = count(self.output_tokens);
        let thinking = self.output_tokens_details.as_ref().map_or(0, |details| count(details.thinking_tokens)).min(output);
        let written = count(self.cache_creation_input_tokens);
        let written_1h = self.cache_creation.as_ref().map_or(0, |details| count(details.ephemeral_1h_input_tokens)).min(written);
        Quantities {
            input_tokens: count(self.input_tokens),
            cached_input_tokens: count(self.cache_read_input_tokens),
            cache_write_tokens: written - written_1h,
            cache_write_1h_tokens: written_1h,
            output_tokens: output - thinking,
            reasoning_tokens: thinking,
            searches: self.server_tool_use.as_ref().map_or(0, |tools| count(tools.web_search_requests)),
            ..Quantities::default()
        }
    }
}

/// The usage object of an answer that is written here, with every member that Anthropic's own has.
pub(super) fn made(quantities: &Quantities) -> String {
    let Quantities { cached_input_tokens: cached, cache_write_tokens: written_5m, cache_write_1h_tokens: written_1h, .. } = *quantities;
    let written = written_5m + written_1h;
    let searches = match quantities.searches {
        0 => "null".to_owned(),
        searches => format!(r#"{{"web_search_requests":{searches},"web_fetch_requests":0}}"#),
    };
    format!(
        concat!(
            r#"{{"input_tokens":{input},"cache_creation_input_tokens":{written},"cache_read_input_tokens":{cached},"#,
            r#""cache_creation":{{"ephemeral_5m_input_tokens":{written_5m},"ephemeral_1h_input_tokens":{written_1h}}},"output_tokens":{output},"#,
            r#""output_tokens_details":{{"thinking_tokens":{thinking}}},"server_tool_use":{searches},"service_tier":null,"#,
            r#""inference_geo":null,"speed":null}}"#
        ),
        // Sound and images are input and output like any other here.
        input = quantities.all_input_tokens() - cached - written,
        written = written,
        cached = cached,
        written_5m = written_5m,
        written_1h = written_1h,
        output = quantities.all_output_tokens(),
        thinking = quantities.reasoning_tokens,
        searches = searches,
    )
}

/// The usage object with `cost` (decimal credits) and `cost_micros` in it: the reported one when there is one that can be read, else one
/// made of the charge's quantities.
pub(super) fn with_cost(reported: Option<&str>, charge: &Charge) -> String {
    let reported = reported.filter(|raw| Reported::read(raw).is_some());
    let spliced = reported.and_then(|raw| cost::with_cost(raw, cost::SNAKE_CASE, charge.cost_micros));
    spliced.or_else(|| cost::with_cost(&made(&charge.quantities), cost::SNAKE_CASE, charge.cost_micros)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dialect::counts::TOKENS_MAX;

    #[test]
    fn cached_tokens_are_outside_and_thinking_is_inside() {
        let raw = r#"{"input_tokens":10,"cache_read_input_tokens":30,"cache_creation_input_tokens":20,"output_tokens":50,
            "cache_creation":{"ephemeral_5m_input_tokens":15,"ephemeral_1h_input_tokens":5},"server_tool_use":{"web_search_requests":2},"output_tokens_details":{"thinking_tokens":40},"service_tier":"standard"}"#;
        let expected = Quantities {
            input_tokens: 10,
            cached_input_tokens: 30,
            cache_write_tokens: 15,
            cache_write_1h_tokens: 5,
            output_tokens: 10,
            reasoning_tokens: 40,
            searches: 2,
            ..Quantities::default()
        };
        assert_eq!(Reported::read(raw).map(|reported| reported.quantities()), Some(expected));
    }

    #[test]
    fn a_later_report_replaces_what_it_names() {
        let start = Reported::read(r#"{"input_tokens":7,"cache_read_input_tokens":3,"output_tokens":1}"#);
        let merged = Reported::read(r#"{"output_tokens":42,"input_tokens":null}"#).map(|delta| delta.after(start).quantities());
        let expected = Quantities { input_tokens: 7, cached_input_tokens: 3, output_tokens: 42, ..Quantities::default() };
        assert_eq!(merged, Some(expected));
    }

    #[test]
    fn lenient_but_not_guessing() {
        assert!(Reported::read(r#"{"input_tokens":0,"output_tokens":0}"#).is_some());
        assert!(Reported::read(r#"{"output_tokens":1.0,"output_tokens_details":null}"#).is_some());
        for raw in ["null", "{}", "[]", "[1,2]", r#"{"input_tokens":-1}"#, r#"{"input_tokens":"7"}"#, r#"{"output_tokens":1e99}"#] {
            assert!(Reported::read(raw).is_none(), "{raw}");
        }
    }

    #[test]
    fn cost_is_added_or_a_usage_object_made() {
        let quantities =
            Quantities { input_tokens: 2, cached_input_tokens: 1, output_tokens: 3, reasoning_tokens: 4, ..Quantities::default() };
        let charge = Charge { cost_micros: 12, quantities, ..Charge::default() };
        assert_eq!(
            with_cost(Some(r#"{"output_tokens":7 ,"new":1}"#), &charge),
            r#"{"output_tokens":7 ,"new":1,"cost":0.000012,"cost_micros":12}"#
        );
        let made = with_cost(Some("null"), &charge);
        assert_eq!(made, with_cost(None, &charge));
        assert!(
            made.contains(r#""input_tokens":2,"#) && made.contains(r#""output_tokens":7,"#) && made.ends_with(r#""cost_micros":12}"#),
            "{made}"
        );
    }

    proptest! {
        #[test]
        fn reading_what_is_made_keeps_the_totals(input in 0..TOKENS_MAX, cached in 0..TOKENS_MAX, written in 0..TOKENS_MAX, output in 0..TOKENS_MAX / 2, thinking in 0..TOKENS_MAX / 2) {
            let quantities = Quantities {
                input_tokens: input,
                cached_input_tokens: cached,
                cache_write_tokens: written,
                cache_write_1h_tokens: TOKENS_MAX - written,
                searches: cached,
                output_tokens: output,
                reasoning_tokens: thinking,
                ..Quantities::default()
            };
            prop_assert_eq!(Reported::read(&made(&quantities)).map(|reported| reported.quantities()), Some(quantities));
        }
    }
}
