//! What an answer says it is based on, from every format of upstreams to every format of callers.

use bytes::Bytes;
use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};

use super::{
    conformance::{read_stream, words, writing},
    formats, upstreams,
};
use crate::dialect::{
    Charge, Endpoint,
    canonical::{
        Answer, Block, BlockStart, Choice, Citation, Content, Finish, StreamEvent, ToolKind,
        citation::{bytes_of_span, characters},
    },
    format::UpstreamFormat,
    sse::Event,
};

const BEFORE: &str = "É🦀 so. ";
const CITED: &str = "The sky is blue.";
const URL: &str = "https://sky.example/blue";

fn upstream(endpoint: Endpoint) -> &'static dyn UpstreamFormat {
    upstreams().find(|(known, _)| *known == endpoint).expect("an upstream's format").1
}

/// An answer that cites a page for its last sentence, as each vendor writes it; and whether that sentence is a block of its own.
fn said(endpoint: Endpoint) -> (Value, bool) {
    let text = format!("{BEFORE}{CITED}");
    match endpoint {
        Endpoint::ChatCompletions => {
            let page = json!({"start_index": 7, "end_index": 23, "url": URL, "title": "Sky"});
            let message = json!({"role": "assistant", "content": text, "annotations": [{"type": "url_citation", "url_citation": page}]});
            (json!({"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}), false)
        }
        Endpoint::Responses => {
            let page = json!({"type": "url_citation", "start_index": 7, "end_index": 23, "url": URL, "title": "Sky"});
            let part = json!({"type": "output_text", "text": text, "annotations": [page], "logprobs": []});
            let item = json!({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]});
            (json!({"id": "r", "status": "completed", "output": [item]}), false)
        }
        Endpoint::Messages => {
            let page = json!({
                "type": "web_search_result_location", "url": URL, "title": "Sky", "encrypted_index": "Eo8B", "cited_text": "It is."
            });
            let cited = json!({"type": "text", "text": CITED, "citations": [page]});
            let content = json!([{"type": "text", "text": BEFORE, "citations": null}, cited]);
            (json!({"id": "m", "type": "message", "role": "assistant", "content": content, "stop_reason": "end_turn"}), true)
        }
        Endpoint::GenerateContent => {
            let grounding = json!({
                "groundingChunks": [{"web": {"uri": "https://other.example"}}, {"web": {"uri": URL, "title": "Sky"}}],
                "groundingSupports": [{"segment": {"startIndex": 11, "endIndex": 27, "text": CITED}, "groundingChunkIndices": [1]}],
            });
            let content = json!({"parts": [{"text": BEFORE}, {"text": CITED}], "role": "model"});
            (json!({"candidates": [{"content": content, "finishReason": "STOP", "groundingMetadata": grounding}]}), false)
        }
        _ => {
            let page = json!({"title": "Sky", "location": {"web": {"url": URL}}, "sourceContent": [{"text": "It is."}]});
            let cited = json!({"citationsContent": {"content": [{"text": CITED}], "citations": [page]}});
            let message = json!({"role": "assistant", "content": [{"text": BEFORE}, cited]});
            (json!({"output": {"message": message}, "stopReason": "end_turn", "usage": {"inputTokens": 1, "outputTokens": 1}}), true)
        }
    }
}

/// The same as each caller has to see it.
fn expected(caller: Endpoint, own_block: bool, quote: &str) -> (&'static str, Value) {
    let flat = |start: u32, end: u32| json!({"type": "url_citation", "start_index": start, "end_index": end, "url": URL, "title": "Sky"});
    match caller {
        Endpoint::ChatCompletions => {
            let page = json!({"start_index": 7, "end_index": 23, "url": URL, "title": "Sky"});
            ("/choices/0/message/annotations", json!([{"type": "url_citation", "url_citation": page}]))
        }
        Endpoint::Responses if own_block => ("/output/0/content/1/annotations", json!([flat(0, 16)])),
        Endpoint::Responses => ("/output/0/content/0/annotations", json!([flat(7, 23)])),
        Endpoint::Messages => {
            let page = json!({
                "type": "web_search_result_location", "url": URL, "title": "Sky", "encrypted_index": "", "cited_text": quote
            });
            let cited = json!({"type": "text", "text": CITED, "citations": [page]});
            ("/content", json!([{"type": "text", "text": BEFORE, "citations": []}, cited]))
        }
        _ => {
            let segment = match own_block {
                true => json!({"partIndex": 1, "endIndex": 16, "text": CITED}),
                false => json!({"startIndex": 11, "endIndex": 27, "text": CITED}),
            };
            let grounding = json!({
                "groundingChunks": [{"web": {"uri": URL, "title": "Sky"}}],
                "groundingSupports": [{"segment": segment, "groundingChunkIndices": [0]}],
            });
            ("/candidates/0/groundingMetadata", grounding)
        }
    }
}

#[test]
fn pages_reach_every_caller_from_every_upstream() {
    for (endpoint, upstream) in upstreams() {
        let (body, own_block) = said(endpoint);
        let answer = upstream.read_answer(body.to_string().as_bytes()).expect("an answer");
        let quote = if own_block { "It is." } else { "" };
        for (caller, format, _) in formats() {
            let written: Value = serde_json::from_slice(&format.write_answer(&answer, &writing(caller), &Charge::default())).expect("JSON");
            let (path, expected) = expected(caller, own_block, quote);
            assert_eq!(written.pointer(path), Some(&expected), "{endpoint:?} to {caller:?}: {written}");
        }
    }
}

/// The same answer as a stream.
fn streamed(endpoint: Endpoint) -> Vec<u8> {
    let events: Vec<Value> = match endpoint {
        Endpoint::ChatCompletions => {
            let chunk = |delta: Value, reason: Value| json!({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]});
            let page = json!({"start_index": 7, "end_index": 23, "url": URL, "title": "Sky"});
            vec![
                chunk(json!({"role": "assistant", "content": BEFORE}), Value::Null),
                chunk(json!({"content": CITED}), Value::Null),
                chunk(json!({"annotations": [{"type": "url_citation", "url_citation": page}]}), Value::Null),
                chunk(json!({}), json!("stop")),
            ]
        }
        Endpoint::Responses => {
            let page = json!({"type": "url_citation", "start_index": 7, "end_index": 23, "url": URL, "title": "Sky"});
            let delta = |text: &str| json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": text});
            vec![
                json!({"type": "response.created", "response": {"id": "r"}}),
                delta(BEFORE),
                delta(CITED),
                json!({
                    "type": "response.output_text.annotation.added", "item_id": "msg_1", "output_index": 0, "content_index": 0,
                    "annotation_index": 0, "annotation": page,
                }),
                json!({"type": "response.completed", "response": {"id": "r", "status": "completed", "output": []}}),
            ]
        }
        Endpoint::Messages => {
            let page = json!({
                "type": "web_search_result_location", "url": URL, "title": "Sky", "encrypted_index": "Eo8B", "cited_text": "It is."
            });
            let start = |index: u32| {
                let block = json!({"type": "text", "text": "", "citations": []});
                json!({"type": "content_block_start", "index": index, "content_block": block})
            };
            let delta = |index: u32, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
            vec![
                json!({"type": "message_start", "message": {"id": "m", "content": []}}),
                start(0),
                delta(0, json!({"type": "text_delta", "text": BEFORE})),
                json!({"type": "content_block_stop", "index": 0}),
                start(1),
                // Anthropic cites before it says.
                delta(1, json!({"type": "citations_delta", "citation": page})),
                delta(1, json!({"type": "text_delta", "text": CITED})),
                json!({"type": "content_block_stop", "index": 1}),
                json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
                json!({"type": "message_stop"}),
            ]
        }
        _ => {
            let text = |text: &str| json!({"parts": [{"text": text}], "role": "model"});
            let grounding = json!({
                "groundingChunks": [{"web": {"uri": URL, "title": "Sky"}}],
                "groundingSupports": [{"segment": {"startIndex": 11, "endIndex": 27, "text": CITED}, "groundingChunkIndices": [0]}],
            });
            // The signature behind the text comes with the sources of it.
            let signed = json!({"parts": [{"text": "", "thoughtSignature": "c2ln"}], "role": "model"});
            vec![
                json!({"candidates": [{"content": text(BEFORE)}]}),
                json!({"candidates": [{"content": text(CITED)}]}),
                json!({"candidates": [{"content": signed, "finishReason": "STOP", "groundingMetadata": grounding}]}),
            ]
        }
    };
    let lines = events.iter().map(|event| match event["type"].as_str() {
        Some(name) => format!("event: {name}\ndata: {event}\n\n"),
        None => format!("data: {event}\n\n"),
    });
    lines.collect::<String>().into_bytes()
}

fn streamed_by_bedrock() -> Vec<StreamEvent> {
    let page = json!({"title": "Sky", "location": {"web": {"url": URL}}, "sourceContent": [{"text": "It is."}]});
    let delta = |index: u32, delta: Value| ("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta}));
    let stop = |index: u32| ("contentBlockStop", json!({"contentBlockIndex": index}));
    let (mut reader, mut events) = (upstream(Endpoint::Converse).stream_reader(), Vec::new());
    for (name, data) in [
        ("messageStart", json!({"role": "assistant"})),
        delta(0, json!({"text": BEFORE})),
        stop(0),
        delta(1, json!({"text": CITED})),
        delta(1, json!({"citation": page})),
        stop(1),
        ("messageStop", json!({"stopReason": "end_turn"})),
        ("metadata", json!({"usage": {"inputTokens": 1, "outputTokens": 1}})),
    ] {
        let event = Event { raw: Bytes::new(), data: Bytes::from(data.to_string()), event: Some(Bytes::from(name)) };
        reader.read(&event, &mut events);
    }
    events
}

/// What is cited in a stream: address, title, and the text it supports with the code point where it begins in all that was said.
fn heard(events: &[StreamEvent]) -> Vec<(String, String, u32, String)> {
    let (mut said, mut text, mut cited, mut open) = (0, String::new(), Vec::new(), None);
    let mut heard = Vec::new();
    for event in events {
        match event {
            StreamEvent::BlockStart { block, start, .. } => open = (*start == BlockStart::Text).then_some(*block),
            StreamEvent::Delta { block, text: more, .. } if open == Some(*block) => text.push_str(more),
            StreamEvent::Cited { block, citation, .. } => {
                assert_eq!(open, Some(*block), "of the open text");
                assert!(citation.span.as_ref().is_none_or(|span| span.end <= characters(&text)), "of what was said: {events:?}");
                cited.push(citation.clone());
            }
            StreamEvent::BlockStop { .. } => {
                heard.extend(cited.drain(..).map(|citation| covered(&citation, said, &text)));
                said += characters(&text);
                text.clear();
            }
            _ => {}
        }
    }
    heard.sort();
    heard
}

fn covered(citation: &Citation, before: u32, text: &str) -> (String, String, u32, String) {
    let covered = text[bytes_of_span(text, citation.span.as_ref())].to_owned();
    let start = before + citation.span.as_ref().map_or(0, |span| span.start);
    (citation.url.clone().unwrap_or_default(), citation.title.clone().unwrap_or_default(), start, covered)
}

/// The same of a whole answer.
fn read(answer: &Answer) -> Vec<(String, String, u32, String)> {
    let (mut said, mut heard) = (0, Vec::new());
    for block in &answer.choices[0].blocks {
        if let Content::Text(text) = &block.content {
            heard.extend(block.citations.iter().map(|citation| covered(citation, said, text)));
            said += characters(text);
        }
    }
    heard.sort();
    heard
}

#[test]
fn streams_cite_the_same_text() {
    for (endpoint, upstream) in upstreams() {
        let events = match endpoint {
            Endpoint::Converse => streamed_by_bedrock(),
            _ => read_stream(upstream, &streamed(endpoint), &[]),
        };
        let expected = [(URL.to_owned(), "Sky".to_owned(), 7, CITED.to_owned())];
        assert_eq!(heard(&events), expected, "{endpoint:?}: {events:?}");
        for (caller, format, reader) in formats() {
            let (mut writer, mut out) = (format.stream_writer(&writing(caller)), Vec::new());
            events.iter().for_each(|event| writer.write(event, &mut out));
            writer.finish(&Charge::default(), &mut out);
            let mut seen = heard(&read_stream(reader, &out, &[]));
            if caller == Endpoint::Messages && !said(endpoint).1 {
                // The text was out before it was cited, and stays one block.
                assert_eq!(seen[0].3, format!("{BEFORE}{CITED}"));
                seen = expected.to_vec();
            }
            assert_eq!(seen, expected, "{endpoint:?} to {caller:?}: {}", String::from_utf8_lossy(&out));
        }
    }
}

#[test]
fn documents_are_told_where_there_are_words_for_them() {
    let place = json!({
        "type": "page_location", "cited_text": "It is.", "document_index": 0, "document_title": "Sky.pdf", "file_id": null,
        "start_page_number": 2, "end_page_number": 3,
    });
    let content = json!([{"type": "text", "text": CITED, "citations": [place]}]);
    let body = json!({"id": "m", "type": "message", "role": "assistant", "content": content, "stop_reason": "end_turn"});
    let answer = upstream(Endpoint::Messages).read_answer(body.to_string().as_bytes()).expect("an answer");
    for (caller, format, _) in formats() {
        let written = format.write_answer(&answer, &writing(caller), &Charge::default());
        let written: Value = serde_json::from_slice(&written).expect("JSON");
        let (path, expected) = match caller {
            Endpoint::ChatCompletions => ("/choices/0/message/annotations", json!([])),
            Endpoint::Responses => ("/output/0/content/0/annotations", json!([])),
            Endpoint::Messages => ("/content/0/citations/0", place.clone()),
            _ => ("/candidates/0/groundingMetadata/groundingChunks/0/retrievedContext", json!({"title": "Sky.pdf", "text": "It is."})),
        };
        assert_eq!(written.pointer(path), Some(&expected), "{caller:?}: {written}");
    }
}

#[test]
fn what_gemini_recites_is_cited() {
    for list in ["citations", "citationSources"] {
        let source = json!({"startIndex": 11, "endIndex": 27, "uri": URL, "title": "Sky"});
        let content = json!({"parts": [{"text": "hm", "thought": true}, {"text": format!("{BEFORE}{CITED}")}]});
        let candidate = json!({"content": content, "finishReason": "STOP", "citationMetadata": {list: [source]}});
        let body = json!({"candidates": [candidate]}).to_string();
        let answer = upstream(Endpoint::GenerateContent).read_answer(body.as_bytes()).expect("an answer");
        assert_eq!(read(&answer), [(URL.to_owned(), "Sky".to_owned(), 7, CITED.to_owned())]);
    }
}

#[test]
fn a_place_that_does_not_fit_stands_for_the_whole_text() {
    for segment in [json!({"startIndex": 1, "endIndex": 5}), json!({"startIndex": 9, "endIndex": 99}), json!({"endIndex": 6, "text": "x"})]
    {
        let chunks = json!([{"web": {"uri": URL, "title": "Sky"}}]);
        let grounding = json!({"groundingChunks": chunks, "groundingSupports": [{"segment": segment, "groundingChunkIndices": [0, 7]}]});
        let content = json!({"parts": [{"text": BEFORE}]});
        let body = json!({"candidates": [{"content": content, "finishReason": "STOP", "groundingMetadata": grounding}]}).to_string();
        let expected = [(URL.to_owned(), "Sky".to_owned(), 0, BEFORE.to_owned())];
        let format = upstream(Endpoint::GenerateContent);
        assert_eq!(read(&format.read_answer(body.as_bytes()).expect("an answer")), expected, "{body}");
        assert_eq!(heard(&read_stream(format, format!("data: {body}\n\n").as_bytes(), &[])), expected, "{body}");
    }
}

/// Texts, each with pages for some of its pieces.
fn texts() -> impl Strategy<Value = Vec<Vec<(String, bool)>>> {
    prop::collection::vec(prop::collection::vec((words(), any::<bool>()), 1..5), 1..3)
}

fn citations(text: &[(String, bool)]) -> Vec<Citation> {
    let (mut citations, mut start) = (Vec::new(), 0);
    for (number, (piece, cited)) in text.iter().enumerate() {
        let span = Some(start..start + characters(piece));
        start += characters(piece);
        if *cited {
            let url = Some(format!("https://a.example/{number}?é"));
            citations.push(Citation { span, url, title: Some(format!("{number} \"é\"")), ..Citation::default() });
        }
    }
    citations
}

fn whole(text: &[(String, bool)]) -> String {
    text.iter().map(|(piece, _)| piece.as_str()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn answers_cite_what_they_cited(texts in texts()) {
        let blocks = texts.iter().map(|text| Block { citations: citations(text), ..Block::text(whole(text)) }).collect();
        let answer = Answer {
            choices: vec![Choice { blocks, finish: Finish::Stop, stop_sequence: None, logprobs: None }],
            ..Answer::default()
        };
        for (endpoint, caller, upstream) in formats() {
            let body = caller.write_answer(&answer, &writing(endpoint), &Charge::default());
            let seen = upstream.read_answer(&body).unwrap_or_else(|garbage| panic!("{endpoint:?}: {garbage}"));
            prop_assert_eq!(read(&seen), read(&answer), "{:?}: {}", endpoint, String::from_utf8_lossy(&body));
        }
    }

    #[test]
    fn streams_cite_what_they_cited(texts in texts(), cuts in prop::collection::vec(any::<Index>(), 0..20)) {
        let mut events = vec![StreamEvent::Start { id: None, model: None }];
        for (number, text) in (0u32..).zip(&texts) {
            let (choice, block, call) = (0, 2 * number, 2 * number + 1);
            events.push(StreamEvent::BlockStart { choice, block, start: BlockStart::Text });
            events.extend(text.iter().map(|(piece, _)| StreamEvent::Delta { choice, block, text: piece.clone() }));
            events.extend(citations(text).into_iter().map(|citation| StreamEvent::Cited { choice, block, citation }));
            events.push(StreamEvent::BlockStop { choice, block });
            // Keeps the texts apart.
            let start = BlockStart::ToolCall { id: format!("call_{number}"), name: "get".into(), kind: ToolKind::Function };
            events.push(StreamEvent::BlockStart { choice, block: call, start });
            events.push(StreamEvent::Delta { choice, block: call, text: "{}".into() });
            events.push(StreamEvent::BlockStop { choice, block: call });
        }
        events.extend([StreamEvent::Finish { choice: 0, finish: Finish::ToolCalls, stop_sequence: None }, StreamEvent::End]);
        for (endpoint, caller, upstream) in formats() {
            // Gemini tells its sources at the end of a stream, and Anthropic's are of whole blocks.
            if matches!(endpoint, Endpoint::GenerateContent | Endpoint::Messages) {
                continue;
            }
            let (mut writer, mut out) = (caller.stream_writer(&writing(endpoint)), Vec::new());
            events.iter().for_each(|event| writer.write(event, &mut out));
            writer.finish(&Charge::default(), &mut out);
            let seen = read_stream(upstream, &out, &cuts);
            prop_assert_eq!(heard(&seen), heard(&events), "{:?}: {}", endpoint, String::from_utf8_lossy(&out));
        }
    }
}
