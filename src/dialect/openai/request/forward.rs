//! The body that is forwarded: the caller's bytes, spliced where the upstream or the metering needs it otherwise.

use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Request, Splices};
use crate::dialect::{
    Endpoint,
    format::{Aim, Written},
    json::{self, Edit, MemberSpan},
};

const SAMPLING: [&str; 3] = ["temperature", "top_p", "top_k"];

impl Request<'_> {
    /// The body for the upstream: the caller's bytes with the upstream's name of the model, with the usage chunk asked for when streamed,
    /// and with what this server wants otherwise. `body` must be the bytes this was parsed from; they are shared when nothing differs.
    pub fn forward(&self, body: &Bytes, aim: &Aim<'_>) -> Written {
        debug_assert_eq!(body.len(), self.splices.body_bytes);
        let mut edits = Vec::with_capacity(2);
        let mut dropped = Vec::new();
        if self.model != aim.model {
            edits.push(Edit { at: self.splices.model.clone(), with: json::quoted(aim.model) });
        }
        if self.streamed && !self.include_usage && aim.quirks.stream_usage {
            edits.push(self.splices.ask_for_usage(body));
        }
        if self.endpoint != Endpoint::Embeddings {
            fit(body, aim, &mut edits, &mut dropped);
        }
        if edits.is_empty() {
            return Written::json(body.clone());
        }
        edits.sort_by_key(|edit| (edit.at.start, edit.at.end));
        Written { dropped, ..Written::json(json::splice(body, &edits)) }
    }
}

impl Splices {
    fn ask_for_usage(&self, body: &[u8]) -> Edit {
        let Self { object_start, stream_options, include_usage, .. } = self;
        match (stream_options, include_usage) {
            (_, Some(value)) => Edit { at: value.clone(), with: "true".to_owned() },
            (Some(options), None) if body[options.start] == b'{' => {
                let inside = options.start + 1;
                let empty = body[inside..options.end - 1].trim_ascii().is_empty();
                Edit { at: inside..inside, with: if empty { r#""include_usage":true"# } else { r#""include_usage":true,"# }.to_owned() }
            }
            (Some(null), None) => Edit { at: null.clone(), with: r#"{"include_usage":true}"#.to_owned() },
            // A comma may follow: the object has a model.
            (None, None) => Edit { at: *object_start..*object_start, with: r#""stream_options":{"include_usage":true},"#.to_owned() },
        }
    }
}

/// Makes the body one that this server takes.
fn fit(body: &[u8], aim: &Aim<'_>, edits: &mut Vec<Edit>, dropped: &mut Vec<String>) {
    let quirks = &aim.quirks;
    if quirks.stream_usage && quirks.max_completion_tokens && quirks.sampling && quirks.developer_role {
        return;
    }
    let Some(members) = std::str::from_utf8(body).ok().and_then(json::member_spans) else { return };
    let has = |name: &str| members.iter().any(|member| member.name == name);
    let unwanted = |member: &MemberSpan<'_>| match &*member.name {
        "stream_options" => !quirks.stream_usage,
        "max_completion_tokens" => !quirks.max_completion_tokens && has("max_tokens"),
        name => !quirks.sampling && SAMPLING.contains(&name),
    };
    for member in members.iter().filter(|member| unwanted(member) && SAMPLING.contains(&&*member.name)) {
        dropped.push(member.name.clone().into_owned());
    }
    edits.extend(removals(&members, unwanted));
    for member in members.iter().filter(|member| !unwanted(member)) {
        match &*member.name {
            "max_completion_tokens" if !quirks.max_completion_tokens => {
                edits.push(Edit { at: member.key.clone(), with: "\"max_tokens\"".to_owned() });
            }
            "messages" if !quirks.developer_role => edits.extend(renamed_roles(body, &member.value)),
            _ => {}
        }
    }
}

/// Takes members out, each run of them with the comma that is too many.
fn removals<'a>(members: &[MemberSpan<'a>], unwanted: impl Fn(&MemberSpan<'a>) -> bool) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut at = 0;
    while at < members.len() {
        let run = members[at..].iter().take_while(|member| unwanted(member)).count();
        if run > 0 {
            let after = at + run;
            let span = match (members.get(after), at.checked_sub(1)) {
                (Some(next), _) => members[at].key.start..next.key.start,
                (None, Some(before)) => members[before].value.end..members[after - 1].value.end,
                (None, None) => members[at].key.start..members[after - 1].value.end,
            };
            edits.push(Edit { at: span, with: String::new() });
        }
        at += run.max(1);
    }
    edits
}

#[derive(Deserialize)]
struct RoleOnly<'a> {
    #[serde(borrow, default)]
    role: Option<&'a RawValue>,
}

fn renamed_roles(body: &[u8], messages: &Range<usize>) -> Vec<Edit> {
    let text = body.get(messages.clone()).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
    let messages: Vec<RoleOnly<'_>> = serde_json::from_str(text).unwrap_or_default();
    let roles = messages.into_iter().filter_map(|message| message.role);
    let developers = roles.filter(|role| serde_json::from_str::<json::Text<'_>>(role.get()).is_ok_and(|role| role.0 == "developer"));
    developers.map(|role| Edit { at: json::span_in(body, role.get()), with: "\"system\"".to_owned() }).collect()
}
