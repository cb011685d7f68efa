//! Answers that the gateway keeps, as pure text: what a call says of them, how earlier items get in front of a call's own, and how kept
//! items are shown.

use std::collections::HashMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::edit;
use crate::dialect::json::{self, Text};

/// Stands in every call that refers to items instead of sending them.
const REFERENCE: &[u8] = b"item_reference";

/// What a call says about answers that are kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Wishes {
    pub previous_id: Option<String>,
    /// Whether its own answer is to be kept.
    pub store: bool,
    /// Ids of items that are named instead of sent.
    pub references: Vec<String>,
}

/// An answer that was kept, with the items it answered.
#[derive(Debug, Clone, Copy)]
pub struct Earlier<'a> {
    /// A JSON array.
    pub input: &'a str,
    /// The response object.
    pub output: &'a str,
}

/// A call with everything in it that it only named.
#[derive(Debug, PartialEq, Eq)]
pub struct Expanded {
    pub body: Bytes,
    /// How many items stand in front of the call's own.
    pub earlier_items: usize,
    /// The call's own items, as they are kept: a JSON array.
    pub input: String,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow, default)]
    previous_response_id: Option<Text<'a>>,
    #[serde(default)]
    store: Option<bool>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    role: Option<Text<'a>>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

impl Named<'_> {
    fn is_reference(&self) -> bool {
        self.kind.as_ref().is_some_and(|kind| kind.0 == "item_reference")
    }
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    output: Vec<&'a RawValue>,
}

impl Wishes {
    /// `None` for a body that is no call; whoever reads it in full says why.
    pub fn read(body: &[u8]) -> Option<Self> {
        let call: Call<'_> = serde_json::from_slice(body).ok()?;
        let mut references = Vec::new();
        if memchr::memmem::find(body, REFERENCE).is_some() {
            let items: Vec<&RawValue> = call.input.and_then(|input| serde_json::from_str(input.get()).ok()).unwrap_or_default();
            let named = items.into_iter().filter_map(|item| serde_json::from_str::<Named<'_>>(item.get()).ok());
            references.extend(named.filter(Named::is_reference).filter_map(|named| Some(named.id?.0.into_owned())));
        }
        let previous_id = call.previous_response_id.map(|id| id.0.into_owned());
        Some(Self { previous_id, store: call.store.unwrap_or(true), references })
    }
}

/// The items of a call, as they are kept. `None` for a body that is no call.
pub fn own_items(body: &[u8]) -> Option<String> {
    let call: Call<'_> = serde_json::from_slice(body).ok()?;
    Some(array(&items_of(call.input?)?))
}

/// Puts what is kept into a call. References that `found` does not hold stay as they are. `None` for a body that is no call.
pub fn expand(body: &[u8], earlier: &[Earlier<'_>], found: &HashMap<String, String>) -> Option<Expanded> {
    let text = std::str::from_utf8(body).ok()?;
    let call: Call<'_> = serde_json::from_str(text).ok()?;
    let mut items: Vec<String> = Vec::new();
    for answer in earlier {
        items.extend(raw_items(answer.input)?.into_iter().map(|item| item.get().to_owned()));
        let response: Response<'_> = serde_json::from_str(answer.output).ok()?;
        items.extend(response.output.into_iter().map(|item| item.get().to_owned()));
    }
    let resolved = |item: String| {
        let named = serde_json::from_str::<Named<'_>>(&item).ok().filter(Named::is_reference);
        named.and_then(|named| found.get(&*named.id?.0).cloned()).unwrap_or(item)
    };
    let own: Vec<String> = items_of(call.input?)?.into_iter().map(resolved).collect();
    let (earlier_items, input) = (items.len(), array(&own));
    items.extend(own);
    let mut values = vec![("input", array(&items))];
    if call.previous_response_id.is_some() {
        values.push(("previous_response_id", "null".to_owned()));
    }
    let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Some(Expanded { body: edit::set(text, &values)?.into(), earlier_items, input })
}

/// An item of an answer.
pub fn find_item(output: &str, id: &str) -> Option<String> {
    let response: Response<'_> = serde_json::from_str(output).ok()?;
    let is_it =
        |item: &&RawValue| serde_json::from_str::<Named<'_>>(item.get()).is_ok_and(|named| named.id.is_some_and(|named| named.0 == id));
    response.output.into_iter().find(is_it).map(|item| item.get().to_owned())
}

/// The id of the answer that an item of ours belongs to (`msg_X_0` belongs to `resp_X`).
pub fn answer_of_item(item_id: &str) -> Option<String> {
    let (_, rest) = item_id.split_once('_')?;
    let (suffix, index) = rest.rsplit_once('_')?;
    let is_ours = !suffix.is_empty() && !index.is_empty() && index.bytes().all(|digit| digit.is_ascii_digit());
    is_ours.then(|| format!("resp_{suffix}"))
}

/// Kept items with what clients expect of every item: an id, a type, and parts instead of a bare text.
pub fn shown_items(input: &str, response_id: &str) -> Vec<(String, String)> {
    let suffix = response_id.strip_prefix("resp_").unwrap_or(response_id);
    let items = raw_items(input).unwrap_or_default();
    let shown = items.into_iter().enumerate().filter_map(|(index, item)| {
        let named: Named<'_> = serde_json::from_str(item.get()).ok()?;
        let kind = named.kind.as_ref().map_or("message", |kind| &kind.0);
        let prefix = match kind {
            "message" => "msg",
            "function_call" => "fc",
            "reasoning" => "rs",
            _ => "item",
        };
        let id = named.id.as_ref().map_or_else(|| format!("{prefix}_{suffix}_in{index}"), |id| id.0.clone().into_owned());
        let mut values = vec![("id", json::quoted(&id)), ("type", json::quoted(kind))];
        if let Some(Ok(Text(text))) = named.content.map(|content| serde_json::from_str::<Text<'_>>(content.get())) {
            let is_answer = named.role.as_ref().is_some_and(|role| role.0 == "assistant");
            let (kind, more) = if is_answer { ("output_text", ",\"annotations\":[]") } else { ("input_text", "") };
            values.push(("content", format!("[{{\"type\":\"{kind}\",\"text\":{}{more}}}]", json::quoted(&text))));
        }
        let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Some((id, edit::set(item.get(), &values)?))
    });
    shown.collect()
}

fn raw_items(array: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(array).ok()
}

/// `input` as items: a bare text is a message of the user.
fn items_of(input: &RawValue) -> Option<Vec<String>> {
    if let Ok(Text(text)) = serde_json::from_str(input.get()) {
        return Some(vec![format!(r#"{{"type":"message","role":"user","content":{}}}"#, json::quoted(&text))]);
    }
    Some(raw_items(input.get())?.into_iter().map(|item| item.get().to_owned()).collect())
}

fn array(items: &[String]) -> String {
    format!("[{}]", items.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn value(text: &str) -> Value {
        serde_json::from_str(text).expect("JSON")
    }

    #[test]
    fn a_call_says_what_it_wants_of_kept_answers() {
        let wishes = |body: &str| Wishes::read(body.as_bytes());
        let plain = Wishes { previous_id: None, store: true, references: Vec::new() };
        assert_eq!(wishes(r#"{"input":"the word item_reference"}"#), Some(plain));
        let said = r#"{"previous_response_id":"resp_1","store":false,"input":[{"type":"item_reference","id":"msg_1"},{"role":"user","content":"x"}]}"#;
        let expected = Wishes { previous_id: Some("resp_1".to_owned()), store: false, references: vec!["msg_1".to_owned()] };
        assert_eq!(wishes(said), Some(expected));
        assert_eq!(wishes(r#"{"store":7}"#), None);
        assert_eq!(wishes("{"), None);
    }

    #[test]
    fn earlier_items_stand_before_the_call_s_own() {
        let earlier = Earlier {
            input: r#"[{"role":"user","content":"one","n":1.50}]"#,
            output: r#"{"id":"resp_1","output":[{"type":"message","id":"msg_1_0"}],"usage":null}"#,
        };
        let body = r#"{"model":"m", "previous_response_id":"resp_1","input":"two \"x\"","temperature":0.70}"#;
        let expanded = expand(body.as_bytes(), &[earlier, earlier], &HashMap::new()).expect("a call");
        let text = std::str::from_utf8(&expanded.body).expect("UTF-8");
        let once = r#"{"role":"user","content":"one","n":1.50},{"type":"message","id":"msg_1_0"}"#;
        let own = r#"{"type":"message","role":"user","content":"two \"x\""}"#;
        assert_eq!(text, format!(r#"{{"model":"m", "previous_response_id":null,"input":[{once},{once},{own}],"temperature":0.70}}"#));
        assert_eq!((expanded.earlier_items, expanded.input), (4, format!("[{own}]")));
    }

    #[test]
    fn references_become_what_they_name() {
        let found = HashMap::from([("msg_1_0".to_owned(), r#"{"type":"message","id":"msg_1_0","x":1}"#.to_owned())]);
        let body =
            br#"{"input":[{"type":"item_reference","id":"msg_1_0"},{"type":"item_reference","id":"other"},{"role":"user","content":"x"}]}"#;
        let expanded = expand(body, &[], &found).expect("a call");
        let input = value(&expanded.input);
        assert_eq!((&input[0]["x"], &input[1]["type"]), (&json!(1), &json!("item_reference")));
        assert_eq!(value(std::str::from_utf8(&expanded.body).expect("UTF-8"))["input"], input);
    }

    #[test]
    fn items_know_their_answer() {
        assert_eq!(answer_of_item("msg_0a1b_12").as_deref(), Some("resp_0a1b"));
        for id in ["", "msg", "msg_", "msg_1", "msg__1", "msg_a_", "msg_a_b"] {
            assert_eq!(answer_of_item(id), None, "{id}");
        }
        let output = r#"{"output":[{"id":"a"},{"id":"b","x":1.50}]}"#;
        assert_eq!(find_item(output, "b").as_deref(), Some(r#"{"id":"b","x":1.50}"#));
        assert_eq!(find_item(output, "c"), None);
    }

    #[test]
    fn kept_items_are_shown_with_ids_and_parts() {
        let input = r#"[{"role":"user","content":"one"},{"role":"assistant","content":"two"},{"type":"function_call_output","call_id":"c","output":"x"},{"type":"message","id":"mine","content":[]}]"#;
        let shown = shown_items(input, "resp_0a");
        let ids: Vec<&str> = shown.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["msg_0a_in0", "msg_0a_in1", "item_0a_in2", "mine"]);
        assert_eq!(value(&shown[0].1)["content"], json!([{"type": "input_text", "text": "one"}]));
        assert_eq!(value(&shown[1].1)["content"], json!([{"type": "output_text", "text": "two", "annotations": []}]));
        assert_eq!(value(&shown[0].1)["type"], json!("message"));
    }
}
