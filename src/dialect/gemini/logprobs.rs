//! Log probabilities, between Gemini's two parallel lists and OpenAI chat's one.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::dialect::{canonical::Json, json::Text};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Result<'a> {
    #[serde(borrow, default, alias = "chosen_candidates")]
    chosen_candidates: Option<Vec<Candidate<'a>>>,
    #[serde(borrow, default, alias = "top_candidates")]
    top_candidates: Option<Vec<Top<'a>>>,
}

#[derive(Deserialize)]
struct Top<'a> {
    #[serde(borrow, default)]
    candidates: Option<Vec<Candidate<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(borrow, default)]
    token: Option<Text<'a>>,
    #[serde(borrow, default, alias = "log_probability")]
    log_probability: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Chat<'a> {
    #[serde(borrow, default)]
    content: Option<Vec<Token<'a>>>,
}

#[derive(Deserialize)]
struct Token<'a> {
    #[serde(borrow, default)]
    token: Option<Text<'a>>,
    #[serde(borrow, default)]
    logprob: Option<&'a RawValue>,
    #[serde(borrow, default)]
    top_logprobs: Option<Vec<Token<'a>>>,
}

#[derive(Serialize)]
struct ChatOut<'a> {
    content: Vec<TokenOut<'a>>,
}

#[derive(Serialize)]
struct TokenOut<'a> {
    token: &'a str,
    logprob: Option<&'a RawValue>,
    /// OpenAI's clients want the key; the bytes are those of the token.
    bytes: Option<&'a [u8]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<Vec<TokenOut<'a>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultOut<'a> {
    chosen_candidates: Vec<CandidateOut<'a>>,
    top_candidates: Vec<TopOut<'a>>,
}

#[derive(Serialize)]
struct TopOut<'a> {
    candidates: Vec<CandidateOut<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CandidateOut<'a> {
    token: &'a str,
    log_probability: Option<&'a RawValue>,
}

/// `None` when there are none that can be read.
pub(super) fn to_chat(result: &RawValue) -> Option<Json> {
    let result: Result<'_> = serde_json::from_str(result.get()).ok()?;
    let chosen = result.chosen_candidates.filter(|chosen| !chosen.is_empty())?;
    let tops = result.top_candidates.unwrap_or_default();
    let content = chosen.iter().enumerate().map(|(at, candidate)| {
        let tops = tops.get(at).and_then(|top| top.candidates.as_deref()).unwrap_or_default();
        let tops = tops.iter().map(|candidate| token(candidate, None)).collect();
        token(candidate, Some(tops))
    });
    Some(Json::of(&ChatOut { content: content.collect() }))
}

fn token<'a>(candidate: &'a Candidate<'_>, top_logprobs: Option<Vec<TokenOut<'a>>>) -> TokenOut<'a> {
    let text = candidate.token.as_ref().map_or("", |token| &*token.0);
    TokenOut { token: text, logprob: candidate.log_probability, bytes: Some(text.as_bytes()), top_logprobs }
}

pub(super) fn from_chat(logprobs: &Json) -> Option<Json> {
    let chat: Chat<'_> = serde_json::from_str(logprobs.text()).ok()?;
    let content = chat.content.filter(|content| !content.is_empty())?;
    Some(Json::of(&ResultOut {
        chosen_candidates: content.iter().map(candidate).collect(),
        top_candidates: content
            .iter()
            .map(|token| TopOut { candidates: token.top_logprobs.iter().flatten().map(candidate).collect() })
            .collect(),
    }))
}

fn candidate<'a>(token: &'a Token<'_>) -> CandidateOut<'a> {
    CandidateOut { token: token.token.as_ref().map_or("", |token| &*token.0), log_probability: token.logprob }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_one_and_two_again() {
        let gemini = r#"{"chosenCandidates":[{"token":"Hi","logProbability":-0.10}],"topCandidates":[{"candidates":[{"token":"Hi","logProbability":-0.10},{"token":"Yo","logProbability":-2.5}]}]}"#;
        let raw: Box<RawValue> = serde_json::from_str(gemini).unwrap();
        let chat = to_chat(&raw).unwrap();
        assert_eq!(
            chat.text(),
            r#"{"content":[{"token":"Hi","logprob":-0.10,"bytes":[72,105],"top_logprobs":[{"token":"Hi","logprob":-0.10,"bytes":[72,105]},{"token":"Yo","logprob":-2.5,"bytes":[89,111]}]}]}"#
        );
        assert_eq!(from_chat(&chat).unwrap().text(), gemini);
    }

    #[test]
    fn what_holds_none_is_none() {
        for raw in ["{}", "null", "[]", r#"{"chosenCandidates":[]}"#, r#"{"content":null}"#] {
            let raw: Box<RawValue> = serde_json::from_str(raw).unwrap();
            assert!(to_chat(&raw).is_none() && from_chat(&Json::of(&raw)).is_none(), "{raw}");
        }
    }
}
