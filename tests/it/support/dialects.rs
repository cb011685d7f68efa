//! One small call in every dialect: how upstreams answer it ([`Spoken`]), and how callers make it and read the answer ([`Asked`]).

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    client::{Answer, Event, Stream, chat},
    upstream::{Reply, completion, usage},
    world::{INPUT_PRICE, price, token_price},
};

/// What an upstream is asked, by the dialect it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    Chat,
    Responses,
    Messages,
    Gemini,
    Converse,
    Completions,
    Embeddings,
    GeminiEmbeddings,
    Rerank,
    CohereRerank,
    Images,
    Speech,
}

/// Input and output tokens that an upstream reports.
pub type Tokens = Option<(u64, u64)>;

/// One message of Amazon's binary event streams.
pub fn amazon_message(headers: &[(&str, &str)], payload: &Value) -> Bytes {
    let header = |(name, value): &(&str, &str)| Header::new((*name).to_owned(), HeaderValue::String((*value).to_owned().into()));
    let message = Message::new_from_parts(headers.iter().map(header).collect(), payload.to_string().into_bytes());
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).expect("a message");
    bytes.into()
}

pub fn amazon_event(name: &str, payload: &Value) -> Bytes {
    amazon_message(&[(":message-type", "event"), (":event-type", name), (":content-type", "application/json")], payload)
}

pub fn amazon_exception(name: &str, message: &str) -> Bytes {
    amazon_message(&[(":message-type", "exception"), (":exception-type", name)], &json!({"message": message}))
}

/// An event with its name, as Anthropic and Responses send them.
fn named(data: &Value) -> Bytes {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().expect("a type")).into()
}

fn data(data: &Value) -> Bytes {
    format!("data: {data}\n\n").into()
}

fn chat_chunk(delta: &Value, reason: Option<&str>) -> Value {
    json!({"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "mock-model",
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})
}

fn text_chunk(text: &str, reason: Option<&str>) -> Value {
    json!({"id": "cmpl-up", "object": "text_completion", "choices": [{"text": text, "index": 0, "finish_reason": reason}]})
}

fn response(text: &str, tokens: Tokens) -> Value {
    let part = json!({"type": "output_text", "text": text, "annotations": []});
    let item = json!({"type": "message", "id": "msg_up", "role": "assistant", "status": "completed", "content": [part]});
    let mut response =
        json!({"id": "resp_up", "object": "response", "created_at": 1, "status": "completed", "model": "mock-model", "output": [item]});
    if let Some((input, output)) = tokens {
        response["usage"] = json!({"input_tokens": input, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": input + output});
    }
    response
}

fn message(content: Value, tokens: Tokens) -> Value {
    let mut message = json!({"id": "msg_up", "type": "message", "role": "assistant", "model": "mock-model", "content": content,
        "stop_reason": "end_turn", "stop_sequence": null});
    if let Some((input, output)) = tokens {
        message["usage"] = json!({"input_tokens": input, "output_tokens": output});
    }
    message
}

fn candidate(text: &str, reason: Option<&str>, tokens: Tokens) -> Value {
    let mut candidate = json!({"content": {"parts": [{"text": text}], "role": "model"}, "index": 0});
    if let Some(reason) = reason {
        candidate["finishReason"] = json!(reason);
    }
    let mut answer = json!({"candidates": [candidate], "modelVersion": "mock-model", "responseId": "gem-up"});
    if let Some((input, output)) = tokens {
        answer["usageMetadata"] = json!({"promptTokenCount": input, "candidatesTokenCount": output, "totalTokenCount": input + output});
    }
    answer
}

fn amazon_usage(tokens: Tokens) -> Value {
    let mut metadata = json!({"metrics": {"latencyMs": 1}});
    if let Some((input, output)) = tokens {
        metadata["usage"] = json!({"inputTokens": input, "outputTokens": output, "totalTokens": input + output});
    }
    metadata
}

impl Spoken {
    /// An upstream that speaks this and nothing else, at the mock: fields beside the name, which is [`Self::name`].
    pub fn upstream(self, base_url: &str, host_url: &str) -> Value {
        let (provider, speaks) = match self {
            Self::Chat => ("openai", "chat_completions"),
            Self::Responses => ("openai", "responses"),
            Self::Messages => ("anthropic", "messages"),
            Self::Gemini => ("gemini", "generate_content"),
            Self::Converse => ("bedrock", "converse"),
            Self::Completions => ("openai", "completions"),
            Self::Embeddings => ("openai", "embeddings"),
            Self::GeminiEmbeddings => ("gemini", "batch_embed_contents"),
            Self::Rerank => ("openai_compatible", "rerank"),
            Self::CohereRerank => ("cohere", "cohere_rerank"),
            Self::Images => ("openai", "image_generations"),
            Self::Speech => ("openai", "speech"),
        };
        let mut fields = json!({"provider": provider, "options": {"speaks": [speaks]}});
        if self == Self::Converse {
            fields["options"]["region"] = json!("eu-west-1");
            fields["api_key"] = json!("AKIDEXAMPLE:upstream-secret");
        }
        fields["base_url"] = json!(if matches!(provider, "openai" | "openai_compatible") { base_url } else { host_url });
        fields
    }

    pub fn name(self) -> String {
        format!("{self:?}").to_ascii_lowercase()
    }

    /// A whole answer that says this, with or without a report of what it used.
    pub fn whole(self, text: &str, tokens: Tokens) -> Reply {
        let reported = tokens.map(|(input, output)| usage(input, output));
        let with_usage = |mut body: Value| {
            if let Some(reported) = &reported {
                body["usage"] = reported.clone();
            }
            body
        };
        let scored = json!([{"index": 0, "relevance_score": 0.5}]);
        Reply::ok(&match self {
            Self::Chat => completion(text, reported),
            Self::Responses => response(text, tokens),
            Self::Messages => message(json!([{"type": "text", "text": text}]), tokens),
            Self::Gemini => candidate(text, Some("STOP"), tokens),
            Self::Converse => {
                let mut body = amazon_usage(tokens);
                body["output"] = json!({"message": {"role": "assistant", "content": [{"text": text}]}});
                body["stopReason"] = json!("end_turn");
                body
            }
            Self::Completions => with_usage(text_chunk(text, Some("stop"))),
            Self::Embeddings => {
                let mut body = json!({"object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}]});
                if let Some((input, _)) = tokens {
                    body["usage"] = json!({"prompt_tokens": input, "total_tokens": input});
                }
                body
            }
            Self::GeminiEmbeddings => {
                let mut body = json!({"embeddings": [{"values": [0.5]}]});
                if let Some((input, _)) = tokens {
                    body["usageMetadata"] = json!({"promptTokenCount": input});
                }
                body
            }
            Self::Rerank => with_usage(json!({"model": "m", "results": scored})),
            Self::CohereRerank => json!({"id": "r", "results": scored, "meta": {"billed_units": {"search_units": 1}}}),
            Self::Images => json!({"created": 1, "data": [{"b64_json": "QQ=="}]}),
            Self::Speech => return Reply::raw_body(200, &[], "audio/mpeg", b"\xff\xfb sound"),
        })
    }

    /// The head of a stream and what comes before its first word.
    pub fn opening(self) -> Reply {
        match self {
            Self::Converse => {
                Reply::stream_of("application/vnd.amazon.eventstream").raw(&amazon_event("messageStart", &json!({"role": "assistant"})))
            }
            Self::Chat => Reply::stream().raw(&data(&chat_chunk(&json!({"role": "assistant", "content": ""}), None))),
            Self::Responses => {
                let begun = json!({"id": "resp_up", "object": "response", "status": "in_progress", "model": "mock-model", "output": []});
                let item = json!({"type": "message", "id": "msg_up", "role": "assistant", "status": "in_progress", "content": []});
                Reply::stream()
                    .raw(&named(&json!({"type": "response.created", "sequence_number": 0, "response": begun})))
                    .raw(&named(&json!({"type": "response.output_item.added", "sequence_number": 1, "output_index": 0, "item": item})))
            }
            // Anthropic says the input's size here, and a placeholder for the output's.
            Self::Messages => Reply::stream()
                .raw(&named(&json!({"type": "message_start", "message": message(json!([]), Some((10, 1)))})))
                .raw(&named(&json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}))),
            _ => Reply::stream(),
        }
    }

    /// Goes on with a word.
    pub fn say(self, reply: Reply, word: &str) -> Reply {
        reply.raw(&match self {
            Self::Responses => named(&json!({"type": "response.output_text.delta", "sequence_number": 2, "output_index": 0,
                "content_index": 0, "item_id": "msg_up", "delta": word, "logprobs": []})),
            Self::Messages => named(&json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}})),
            Self::Gemini => data(&candidate(word, None, None)),
            Self::Converse => amazon_event("contentBlockDelta", &json!({"contentBlockIndex": 0, "delta": {"text": word}})),
            Self::Completions => data(&text_chunk(word, None)),
            _ => data(&chat_chunk(&json!({"content": word}), None)),
        })
    }

    /// The good end of a stream that said `text`.
    pub fn close(self, reply: Reply, text: &str, tokens: Tokens) -> Reply {
        let usage_chunk = |mut chunk: Value| {
            chunk["choices"] = json!([]);
            tokens.map(|(input, output)| {
                chunk["usage"] = usage(input, output);
                data(&chunk)
            })
        };
        let done = || Bytes::from_static(b"data: [DONE]\n\n");
        let last: Vec<Bytes> = match self {
            Self::Responses => {
                vec![named(&json!({"type": "response.completed", "sequence_number": 3, "response": response(text, tokens)}))]
            }
            Self::Messages => {
                let mut delta = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}});
                if let Some((input, output)) = tokens {
                    delta["usage"] = json!({"input_tokens": input, "output_tokens": output});
                }
                let stop = json!({"type": "content_block_stop", "index": 0});
                vec![named(&stop), named(&delta), named(&json!({"type": "message_stop"}))]
            }
            Self::Gemini => vec![data(&candidate("", Some("STOP"), tokens))],
            Self::Converse => vec![
                amazon_event("contentBlockStop", &json!({"contentBlockIndex": 0})),
                amazon_event("messageStop", &json!({"stopReason": "end_turn"})),
                amazon_event("metadata", &amazon_usage(tokens)),
            ],
            Self::Completions => {
                [Some(data(&text_chunk("", Some("stop")))), usage_chunk(text_chunk("", None)), Some(done())].into_iter().flatten().collect()
            }
            _ => [Some(data(&chat_chunk(&json!({}), Some("stop")))), usage_chunk(chat_chunk(&json!({}), None)), Some(done())]
                .into_iter()
                .flatten()
                .collect(),
        };
        last.iter().fold(reply, |reply, bytes| reply.raw(bytes)).end()
    }

    pub fn say_all(self, reply: Reply, text: &str) -> Reply {
        text.split_inclusive(' ').fold(reply, |reply, word| self.say(reply, word))
    }

    /// A whole, good stream.
    pub fn stream(self, text: &str, tokens: Tokens) -> Reply {
        self.close(self.say_all(self.opening(), text), text, tokens)
    }

    /// The event that says that the model failed.
    pub fn failure(self, reply: Reply) -> Reply {
        reply.raw(&match self {
            Self::Converse => amazon_exception("modelStreamErrorException", "the model crashed"),
            Self::Messages => named(&self.error()),
            Self::Responses => {
                let error = json!({"code": "server_error", "message": "the model crashed"});
                named(&json!({"type": "response.failed", "sequence_number": 9, "response":
                    {"id": "resp_up", "object": "response", "status": "failed", "error": error, "output": []}}))
            }
            _ => data(&self.error()),
        })
    }

    /// An error's body.
    pub fn error(self) -> Value {
        match self {
            Self::Messages => json!({"type": "error", "error": {"type": "api_error", "message": "the model crashed"}}),
            Self::Gemini | Self::GeminiEmbeddings => {
                json!({"error": {"code": 500, "message": "the model crashed", "status": "INTERNAL"}})
            }
            Self::Converse | Self::CohereRerank => json!({"message": "the model crashed"}),
            _ => json!({"error": {"message": "the model crashed", "type": "server_error", "param": null, "code": null}}),
        }
    }

    /// The head of a stream in this dialect, and nothing else.
    pub fn silent(self) -> Reply {
        if self == Self::Converse { Reply::stream_of("application/vnd.amazon.eventstream") } else { Reply::stream() }
    }
}

/// What a caller asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Chat,
    Responses,
    Messages,
    Gemini,
    Completions,
    Embeddings,
    Rerank,
    Images,
    Speech,
}

/// A stream as its caller understood it.
#[derive(Debug, Default)]
pub struct Told {
    pub text: String,
    pub cost: Option<i64>,
    /// The dialect's mark of a good end came, and it came last.
    pub ended_well: bool,
    /// The dialect's event of a failure.
    pub error: Option<Value>,
    /// The connection ended without a good end of the transfer.
    pub cut: bool,
}

impl Asked {
    /// Whether it is answered with text, and can be streamed.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Chat | Self::Responses | Self::Messages | Self::Gemini | Self::Completions)
    }

    pub fn kind(self) -> &'static str {
        match self {
            Self::Embeddings => "embedding",
            Self::Rerank => "rerank",
            Self::Images => "image",
            Self::Speech => "audio",
            _ => "chat",
        }
    }

    /// Prices `times` the usual ones. Those of media are for what our own count knows exactly.
    pub fn prices(self, times: i64) -> Value {
        match self {
            Self::Rerank => json!([token_price("search", 50 * times)]),
            Self::Images => json!([token_price("image", 100 * times)]),
            Self::Speech => json!([token_price("character", 2 * times)]),
            _ => json!([token_price("input_token", 3 * times), token_price("output_token", 7 * times)]),
        }
    }

    /// The cost of a call of `text` that is reported to have used so many tokens.
    pub fn cost_of(self, text: &str, (input, output): (u64, u64)) -> i64 {
        let number = |count: u64| i64::try_from(count).expect("a small count");
        match self {
            Self::Rerank => 50,
            Self::Images => 100,
            Self::Speech => 2 * number(text.chars().count() as u64),
            Self::Embeddings => number(input) * INPUT_PRICE,
            _ => price(number(input), number(output)),
        }
    }

    pub fn path(self, model: &str, streamed: bool) -> String {
        match self {
            Self::Chat => "/v1/chat/completions".to_owned(),
            Self::Responses => "/v1/responses".to_owned(),
            Self::Messages => "/v1/messages".to_owned(),
            Self::Gemini if streamed => format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"),
            Self::Gemini => format!("/v1beta/models/{model}:generateContent"),
            Self::Completions => "/v1/completions".to_owned(),
            Self::Embeddings => "/v1/embeddings".to_owned(),
            Self::Rerank => "/v1/rerank".to_owned(),
            Self::Images => "/v1/images/generations".to_owned(),
            Self::Speech => "/v1/audio/speech".to_owned(),
        }
    }

    pub fn body(self, model: &str, text: &str, streamed: bool) -> Value {
        let mut body = match self {
            Self::Chat => chat(model, text),
            Self::Responses => json!({"model": model, "input": text}),
            Self::Messages => json!({"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": text}]}),
            Self::Gemini => return json!({"contents": [{"role": "user", "parts": [{"text": text}]}]}),
            Self::Completions => json!({"model": model, "prompt": text, "max_tokens": 100}),
            Self::Embeddings => json!({"model": model, "input": text}),
            Self::Rerank => json!({"model": model, "query": text, "documents": [text]}),
            Self::Images => json!({"model": model, "prompt": text}),
            Self::Speech => json!({"model": model, "input": text, "voice": "alloy"}),
        };
        if streamed {
            body["stream"] = json!(true);
        }
        body
    }

    /// The same without what it is about.
    pub fn invalid(self, model: &str) -> Value {
        match self {
            Self::Gemini => json!({"contents": "Hi"}),
            _ => json!({"model": model}),
        }
    }

    /// The cost in an answer's usage; sound has none.
    #[track_caller]
    pub fn cost(self, answer: &Answer) -> i64 {
        let cost = match self {
            Self::Speech => return answer.number("x-pixgate-cost-micros"),
            Self::Gemini => answer.json()["usageMetadata"]["costMicros"].as_i64(),
            _ => answer.json()["usage"]["cost_micros"].as_i64(),
        };
        cost.unwrap_or_else(|| panic!("{self:?}: no cost in {}", answer.text))
    }

    /// The `error` object of a refusal or failure in the caller's dialect, and our code in it.
    #[track_caller]
    pub fn refused(self, answer: &Answer, status: u16, code: &str) -> Value {
        let body = answer.expect(status);
        let error = body["error"].clone();
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
        let found = if self == Self::Gemini { &error["details"][0]["metadata"]["code"] } else { &error["code"] };
        assert_eq!(found, &json!(code), "{body}");
        error
    }

    fn text_of(self, event: &Value) -> String {
        let of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match self {
            Self::Responses if event["type"] == "response.output_text.delta" => of(&event["delta"]),
            Self::Responses => String::new(),
            Self::Messages => of(&event["delta"]["text"]),
            Self::Gemini => {
                let parts = event["candidates"][0]["content"]["parts"].as_array().into_iter().flatten();
                parts.map(|part| of(&part["text"])).collect()
            }
            Self::Completions => of(&event["choices"][0]["text"]),
            _ => of(&event["choices"][0]["delta"]["content"]),
        }
    }

    fn note(self, event: &Value, told: &mut Told) {
        told.text.push_str(&self.text_of(event));
        let (usage, name) = match self {
            Self::Responses => (&event["response"]["usage"], "cost_micros"),
            Self::Gemini => (&event["usageMetadata"], "costMicros"),
            _ => (&event["usage"], "cost_micros"),
        };
        told.cost = usage[name].as_i64().or(told.cost);
        let (end, error) = match self {
            Self::Responses => {
                (event["type"] == "response.completed", ["response.failed", "error"].iter().any(|kind| event["type"] == *kind))
            }
            Self::Messages => (event["type"] == "message_stop", event["type"] == "error"),
            Self::Gemini => (event["candidates"][0]["finishReason"].is_string(), event["error"].is_object()),
            _ => (false, event["error"].is_object()),
        };
        told.ended_well = end;
        if error {
            told.error = Some(event.clone());
        }
    }

    /// Reads on until this text has come; an end before it fails the test.
    pub async fn until(self, stream: &mut Stream, text: &str) {
        let mut told = Told::default();
        while !told.text.contains(text) {
            match stream.next().await.expect("the stream goes on") {
                Some(Event::Data(event)) => self.note(&event, &mut told),
                end => panic!("{self:?}: the stream ended with {end:?} after {told:?}"),
            }
        }
    }

    pub async fn read(self, mut stream: Stream) -> Told {
        let mut told = Told::default();
        loop {
            match stream.next().await {
                Ok(Some(Event::Data(event))) => self.note(&event, &mut told),
                Ok(Some(Event::Done)) => told.ended_well = true,
                Ok(None) => return told,
                Err(_) => {
                    told.cut = true;
                    return told;
                }
            }
        }
    }
}
