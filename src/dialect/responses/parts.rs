//! Parts of a message or of a tool's result.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::fields::Fields;
use crate::dialect::{
    Invalid,
    canonical::{Block, CacheHint, Content, Json, Source, Unmodelled},
    json,
    openai::{annotations, media},
};

/// What earlier answers were based on.
const ANNOTATIONS: &str = "input[].content[].annotations";

/// A text, or parts.
pub(super) fn read(at: &str, raw: &RawValue, unmodelled: &mut Vec<Unmodelled>) -> Result<Vec<Block>, Invalid> {
    if let Ok(json::Text(text)) = serde_json::from_str(raw.get()) {
        return Ok(vec![Block::text(text)]);
    }
    let Ok(parts) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
        return Err(Invalid::field(at, "must be a string or an array of parts"));
    };
    let read = |(index, part): (usize, &RawValue)| read_part(Fields::read(format!("{at}[{index}]"), part.get())?, part, unmodelled);
    parts.into_iter().enumerate().map(read).collect()
}

fn read_part(mut part: Fields<'_>, raw: &RawValue, unmodelled: &mut Vec<Unmodelled>) -> Result<Block, Invalid> {
    let kind = part.required_text("type")?;
    let cache = part.take("prompt_cache_breakpoint").map(|_| CacheHint { ttl: None });
    let annotations = part.take("annotations").filter(|raw| kind == "output_text" && !matches!(raw.get(), "null" | "[]"));
    if annotations.is_some() && !unmodelled.iter().any(|noted| noted.field == ANNOTATIONS) {
        unmodelled.push(Unmodelled { field: ANNOTATIONS.to_owned(), harmless: true });
    }
    let content = match &*kind {
        "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text" => Content::Text(said(&mut part, "text")?),
        "refusal" => Content::Refusal(said(&mut part, "refusal")?),
        "input_image" => {
            let detail = part.text("detail")?.map(Cow::into_owned).filter(|detail| detail != "auto");
            Content::Image { source: source(&mut part, "image_url")?, detail }
        }
        "input_file" => read_file(&mut part)?,
        "input_audio" => read_audio(&mut part)?,
        kind => {
            unmodelled.push(Unmodelled { field: part.at().to_owned(), harmless: false });
            Content::Opaque { kind: kind.to_owned(), json: Json::parse(raw.get()).unwrap_or_else(Json::null) }
        }
    };
    Ok(Block { content, cache, citations: annotations.map(annotations::read).unwrap_or_default() })
}

fn said(part: &mut Fields<'_>, name: &str) -> Result<String, Invalid> {
    part.text(name)?.map(Cow::into_owned).ok_or_else(|| part.invalid(name, "is required"))
}

fn read_file(part: &mut Fields<'_>) -> Result<Content, Invalid> {
    let name = part.text("filename")?.map(Cow::into_owned);
    let source = match part.text("file_data")? {
        Some(data) => {
            // Bare base64 is a PDF unless its name says otherwise.
            let (mime, data) = media::parse_data_url(&data).unwrap_or_else(|| (mime_of(name.as_deref()), &data));
            Source::Base64 { mime: mime.to_owned(), data: media::standard_base64(data).into_owned() }
        }
        None => source(part, "file_url")?,
    };
    Ok(Content::Document { source, name })
}

fn mime_of(name: Option<&str>) -> &'static str {
    let extension = name.and_then(|name| name.rsplit_once('.')).map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref() {
        Some("txt") => "text/plain",
        Some("md") => "text/markdown",
        Some("csv") => "text/csv",
        Some("json") => "application/json",
        Some("html") => "text/html",
        _ => "application/pdf",
    }
}

fn read_audio(part: &mut Fields<'_>) -> Result<Content, Invalid> {
    let mut audio = part.object("input_audio")?.ok_or_else(|| part.invalid("input_audio", "is required"))?;
    let data = media::standard_base64(&audio.required_text("data")?).into_owned();
    let mime = match &*audio.required_text("format")? {
        "mp3" => "audio/mpeg".to_owned(),
        format => format!("audio/{format}"),
    };
    Ok(Content::Audio { source: Source::Base64 { mime, data } })
}

/// Of an image or a file: a URL, `data:` URLs too, or an uploaded file.
fn source(part: &mut Fields<'_>, url_name: &str) -> Result<Source, Invalid> {
    let (url, file) = (part.text(url_name)?, part.text("file_id")?);
    match (url.filter(|url| !url.is_empty()), file.filter(|id| !id.is_empty())) {
        (Some(url), _) => Ok(media::source_of_url(&url)),
        (None, Some(id)) => Ok(Source::File { id: id.into_owned() }),
        (None, None) => Err(part.invalid(url_name, "or 'file_id' is required")),
    }
}
