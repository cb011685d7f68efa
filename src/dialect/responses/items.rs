//! Items, as they stand in `input` and in `output`: messages, calls of tools and their results, reasoning.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    fields::Fields,
    parts,
    signature::{self, Carried},
};
use crate::dialect::{
    Invalid,
    canonical::{Block, Content, Json, Role, Signature, ToolKind, Turn, Unmodelled},
    json,
};

/// A conversation while its items are read.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// Instructions before the first turn.
    pub system: Vec<Block>,
    pub turns: Vec<Turn>,
    pub unmodelled: Vec<Unmodelled>,
    /// Signatures of calls, which travel in reasoning items of their own.
    signed_calls: Vec<(String, Signature)>,
    /// Items that were put before the caller's own and do not count in the names of fields.
    earlier: usize,
}

impl Conversation {
    pub fn new(earlier: usize) -> Self {
        Self { earlier, ..Self::default() }
    }

    /// `input`: a text, or items.
    pub fn read_input(&mut self, raw: &RawValue) -> Result<(), Invalid> {
        if let Ok(json::Text(text)) = serde_json::from_str(raw.get()) {
            self.turns.push(Turn { role: Role::User, name: None, blocks: vec![Block::text(text)] });
            return Ok(());
        }
        let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
            return Err(Invalid::field("input", "must be a string or an array of items"));
        };
        for (index, item) in items.into_iter().enumerate() {
            let at = match index.checked_sub(self.earlier) {
                Some(index) => format!("input[{index}]"),
                None => format!("previous[{index}]"),
            };
            self.read_item(Fields::read(at, item.get())?, item)?;
        }
        self.sign_calls();
        Ok(())
    }

    fn read_item(&mut self, mut item: Fields<'_>, raw: &RawValue) -> Result<(), Invalid> {
        let kind = item.text("type")?;
        match kind.as_deref() {
            None if item.peek("role").is_none() && item.peek("id").is_some() => Err(not_kept(&item)),
            None | Some("message") => self.read_message(item),
            Some("function_call") => {
                let arguments = item.text("arguments")?.filter(|arguments| !arguments.trim_ascii().is_empty());
                let arguments = arguments.unwrap_or(Cow::Borrowed("{}"));
                self.push_call(&mut item, arguments, ToolKind::Function)
            }
            Some("custom_tool_call") => {
                let input = item.text("input")?.unwrap_or_default();
                self.push_call(&mut item, input, ToolKind::Custom)
            }
            Some("function_call_output" | "custom_tool_call_output") => self.read_result(item),
            Some("reasoning") => self.read_reasoning(item),
            Some("item_reference") => Err(not_kept(&item)),
            Some(kind) => {
                self.push_opaque(item.at(), kind, raw);
                Ok(())
            }
        }
    }

    fn read_message(&mut self, mut item: Fields<'_>) -> Result<(), Invalid> {
        let role = item.required_text("role")?;
        let content = item.take("content").ok_or_else(|| item.invalid("content", "is required"))?;
        let blocks = parts::read(&item.path("content"), content, &mut self.unmodelled)?;
        match &*role {
            "system" | "developer" if self.turns.is_empty() => self.system.extend(blocks),
            "system" | "developer" => self.push_turn(Role::System, blocks),
            "user" => self.push_turn(Role::User, blocks),
            "assistant" => self.say(blocks, true),
            _ => return Err(item.invalid("role", "must be user, assistant, system or developer")),
        }
        Ok(())
    }

    fn push_turn(&mut self, role: Role, blocks: Vec<Block>) {
        self.turns.push(Turn { role, name: None, blocks });
    }

    /// What the model wrote joins the turn it has begun. A message begins a turn of its own when something was said before it.
    fn say(&mut self, blocks: Vec<Block>, is_message: bool) {
        let goes_on = |turn: &&mut Turn| {
            let only_thought = || turn.blocks.iter().all(|block| matches!(block.content, Content::Reasoning { .. }));
            turn.role == Role::Assistant && (!is_message || only_thought())
        };
        match self.turns.last_mut().filter(goes_on) {
            Some(turn) => turn.blocks.extend(blocks),
            None => self.push_turn(Role::Assistant, blocks),
        }
    }

    fn push_call(&mut self, item: &mut Fields<'_>, arguments: Cow<'_, str>, kind: ToolKind) -> Result<(), Invalid> {
        let id = item.required_text("call_id")?.into_owned();
        let name = item.required_text("name")?.into_owned();
        let call = Content::ToolCall { id, name, arguments: arguments.into_owned(), kind, signature: None };
        self.say(vec![Block::new(call)], false);
        Ok(())
    }

    fn read_result(&mut self, mut item: Fields<'_>) -> Result<(), Invalid> {
        let call_id = item.required_text("call_id")?.into_owned();
        let name = item.text("name")?.map(Cow::into_owned);
        let output = item.take("output").ok_or_else(|| item.invalid("output", "is required"))?;
        let blocks = parts::read(&item.path("output"), output, &mut self.unmodelled)?;
        let result = Block::new(Content::ToolResult { call_id, name, blocks, is_error: false });
        let only_results = |turn: &&mut Turn| {
            turn.blocks.iter().all(|block| matches!(block.content, Content::ToolResult { .. })) && turn.role == Role::User
        };
        match self.turns.last_mut().filter(only_results) {
            Some(turn) => turn.blocks.push(result),
            None => self.push_turn(Role::User, vec![result]),
        }
        Ok(())
    }

    fn read_reasoning(&mut self, mut item: Fields<'_>) -> Result<(), Invalid> {
        let id = item.text("id")?;
        let encrypted = item.text("encrypted_content")?.filter(|text| !text.is_empty());
        let mut text = thought(&mut item, "summary")?;
        if text.is_empty() {
            text = thought(&mut item, "content")?;
        }
        let signature = match encrypted.and_then(|encrypted| signature::unwrap(&encrypted, id.as_deref())) {
            Some(Carried { signature, call_id: Some(call_id) }) => {
                self.signed_calls.push((call_id, signature));
                None
            }
            Some(Carried { signature, call_id: None }) => Some(signature),
            None => None,
        };
        if !text.is_empty() || signature.is_some() {
            self.say(vec![Block::new(Content::Reasoning { text, signature })], false);
        }
        Ok(())
    }

    /// An item of a tool that runs at the vendor, or one we do not know.
    fn push_opaque(&mut self, at: &str, kind: &str, raw: &RawValue) {
        self.unmodelled.push(Unmodelled { field: at.to_owned(), harmless: false });
        if let Some(json) = Json::parse(raw.get()) {
            let block = Block::new(Content::Opaque { kind: kind.to_owned(), json });
            if kind.ends_with("_output") || kind.ends_with("_response") {
                self.push_turn(Role::User, vec![block]);
            } else {
                self.say(vec![block], false);
            }
        }
    }

    fn sign_calls(&mut self) {
        for (call_id, signed) in self.signed_calls.drain(..) {
            let blocks = self.turns.iter_mut().flat_map(|turn| &mut turn.blocks);
            for block in blocks {
                if let Content::ToolCall { id, signature, .. } = &mut block.content
                    && *id == call_id
                {
                    *signature = Some(signed.clone());
                }
            }
        }
    }
}

fn not_kept(item: &Fields<'_>) -> Invalid {
    Invalid::field(
        item.at(),
        "refers to an item that this gateway does not keep; send the item itself (clients do with 'store' set to false)",
    )
}

/// Texts of `summary` or `content`, as paragraphs.
fn thought(item: &mut Fields<'_>, name: &str) -> Result<String, Invalid> {
    let mut text = String::new();
    for (index, part) in item.array(name)?.unwrap_or_default().into_iter().enumerate() {
        let mut part = Fields::read(format!("{}[{index}]", item.path(name)), part.get())?;
        if !text.is_empty() {
            text.push_str(PARAGRAPH);
        }
        text.push_str(&part.text("text")?.unwrap_or_default());
    }
    Ok(text)
}

/// Between parts of one thought.
pub(super) const PARAGRAPH: &str = "\n\n";
