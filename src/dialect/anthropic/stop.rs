//! `stop_reason`, in both directions.

use crate::dialect::canonical::Finish;

/// What an upstream's reason means. One that nobody knows yet is an end like any other.
pub(super) fn finish_of(reason: &str) -> Finish {
    match reason {
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "tool_use" => Finish::ToolCalls,
        "refusal" => Finish::Refused,
        "pause_turn" => Finish::Paused,
        _ => Finish::Stop,
    }
}

/// What a caller is told. Some upstreams say `stop` with calls of tools in the answer, so the content has the last word.
pub(super) fn reason_of(finish: Finish, has_calls: bool, has_stop_sequence: bool) -> &'static str {
    match finish {
        Finish::Stop | Finish::ToolCalls if has_calls => "tool_use",
        Finish::Stop if has_stop_sequence => "stop_sequence",
        Finish::Stop | Finish::ToolCalls => "end_turn",
        Finish::Length => "max_tokens",
        Finish::Filtered | Finish::Refused => "refusal",
        Finish::Paused => "pause_turn",
    }
}

/// `stop_details`: `null`, or the object that Anthropic gives with refusals.
pub(super) fn details_of(reason: &str) -> &'static str {
    if reason == "refusal" { r#"{"type":"refusal","category":null,"explanation":null}"# } else { "null" }
}
