use bytes::Bytes;

use super::*;
use crate::dialect::format::{Aim, Quirks, Written};

fn chat(fields: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hello world"}}]{fields}}}"#)
}

fn parse(body: &str) -> Result<Request<'_>, Invalid> {
    Request::parse(Endpoint::ChatCompletions, body.as_bytes())
}

fn aim(model: &str) -> Aim<'_> {
    Aim { model, max_output_tokens: 4_096, quirks: Quirks::default(), drop_unsupported: false }
}

fn forward(body: &str, model: &str) -> String {
    fitted(body, model, Quirks::default()).0
}

fn fitted(body: &str, model: &str, quirks: Quirks) -> (String, Vec<String>) {
    let bytes = Bytes::copy_from_slice(body.as_bytes());
    let Written { body, dropped, .. } = parse(body).expect("valid").forward(&bytes, &Aim { quirks, ..aim(model) });
    (String::from_utf8(body.to_vec()).expect("UTF-8"), dropped)
}

#[test]
fn reads_the_fields_it_needs() {
    let body = chat(r#","stream":true,"stream_options":{"include_usage":true},"max_tokens":5,"max_completion_tokens":7,"n":2,"x":[1]"#);
    let request = parse(&body).expect("valid");
    assert_eq!(request.model, "m");
    assert!(request.streamed && request.include_usage);
    assert_eq!((request.max_output_tokens, request.n), (Some(7), 2));
    assert_eq!(request.last_user_text(), "hello world");
}

#[test]
fn nulls_are_absent() {
    let body = chat(r#","stream":null,"stream_options":null,"max_tokens":null,"n":null,"tools":null,"metadata":null"#);
    let request = parse(&body).expect("valid");
    assert!(!request.streamed && !request.include_usage);
    assert_eq!((request.max_output_tokens, request.n, request.metadata()), (None, 1, None));
}

#[test]
fn refusals_name_the_field() {
    for (fields, param, message) in [
        (r#","stream":"yes""#, "stream", "'stream' must be true or false"),
        (r#","stream_options":[]"#, "stream_options", "'stream_options' must be an object"),
        (
            r#","stream_options":{"include_usage":1}"#,
            "stream_options.include_usage",
            "'stream_options.include_usage' must be true or false",
        ),
        (r#","max_tokens":1.5"#, "max_tokens", "'max_tokens' must be a whole number from 1 to 1000000000"),
        (r#","max_tokens":-1"#, "max_tokens", "'max_tokens' must be a whole number from 1 to 1000000000"),
        (r#","max_tokens":1e3"#, "max_tokens", "'max_tokens' must be a whole number from 1 to 1000000000"),
        (r#","max_tokens":"9""#, "max_tokens", "'max_tokens' must be a whole number from 1 to 1000000000"),
        (
            r#","max_completion_tokens":99999999999999999999999"#,
            "max_completion_tokens",
            "'max_completion_tokens' must be a whole number from 1 to 1000000000",
        ),
        (r#","n":0"#, "n", "'n' must be a whole number from 1 to 128"),
        (r#","n":129"#, "n", "'n' must be a whole number from 1 to 128"),
    ] {
        let invalid = parse(&chat(fields)).expect_err(fields);
        assert_eq!((invalid.param, &*invalid.message), (Some(param.to_owned()), message));
    }
}

#[test]
fn bad_bodies_are_told_plainly() {
    let message = |body: &str| parse(body).expect_err(body).message;
    assert_eq!(message(""), "the request body must be a JSON object");
    assert_eq!(message("[]"), "the request body must be a JSON object");
    assert!(message("{\"model\":\"m\",}").starts_with("the request body is not valid JSON: "));
    assert!(message(&format!("{} trailing", chat(""))).starts_with("the request body is not valid JSON: "));
    assert_eq!(message(r#"{"messages":[]}"#), "'model' is required");
    assert_eq!(message(r#"{"model":7,"messages":[{}]}"#), "'model' must be a string");
    assert_eq!(message(r#"{"model":"","messages":[{}]}"#), "'model' must not be empty");
    assert_eq!(message(r#"{"model":"m"}"#), "'messages' is required");
    assert_eq!(message(r#"{"model":"m","messages":[]}"#), "'messages' must not be empty");
    assert_eq!(message(r#"{"model":"m","model":"n","messages":[{}]}"#), "'model' is given twice");
    assert_eq!(
        message(r#"{"model":"m","messages":[{},{"content":5}]}"#),
        "'messages' is not valid: messages[1]: invalid type: integer `5`, expected content as a string, an array of parts or null"
    );
    assert!(message(&format!(r#"{{"model":"m","messages":"{}"}}"#, "x".repeat(9_999))).len() < 400);
    assert_eq!(message(&chat(&format!(r#","x":{}"#, "[".repeat(200)))), "the request body nests deeper than 128 levels");
    let invalid = Request::parse(Endpoint::ChatCompletions, b"{\"model\":\"\xff\"}").expect_err("not UTF-8");
    assert_eq!(invalid.message, "the request body is not valid UTF-8");
}

#[test]
fn depth_is_counted_exactly() {
    let nested = |depth: usize| chat(&format!(r#","x":{}{}"#, "[".repeat(depth), "]".repeat(depth)));
    assert!(parse(&nested(127)).is_ok());
    assert!(parse(&nested(128)).is_err());
}

#[test]
fn counts_text_messages_and_tools() {
    let tokens = |body: &str| parse(body).expect("valid").input_tokens();
    assert_eq!(tokens(&chat("")), 2 + 4 + 3);
    assert_eq!(tokens(r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"hello world"}]}]}"#), 2 + 4 + 3);
    assert_eq!(tokens(r#"{"model":"m","messages":[{"role":"assistant","content":null},{"role":"user","content":"hello"}]}"#), 1 + 8 + 3);
    assert!(tokens(&chat(r#","tools":[{"type":"function","function":{"name":"f","parameters":{}}}]"#)) > 9 + 10);
    let call = r#"{"model":"m","messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}]}"#;
    assert!(tokens(call) > 7 + 5);
}

#[test]
fn media_counts_flat_and_never_as_text() {
    let data = "A".repeat(64 * 1024);
    let part = |part: &str| {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":[{part}]}}]}}"#);
        let request = parse(&body).expect("valid");
        assert_eq!(request.text_bytes(), 0);
        request.input_tokens() - 7
    };
    assert_eq!(part(&format!(r#"{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{data}"}}}}"#)), 1_600);
    assert_eq!(part(&format!(r#"{{"type":"input_audio","input_audio":{{"format":"mp3","data":"{data}"}}}}"#)), 123);
    assert_eq!(part(&format!(r#"{{"type":"input_audio","input_audio":{{"format":"wav","data":"{data}"}}}}"#)), 62);
    assert_eq!(part(&format!(r#"{{"type":"file","file":{{"file_data":"{data}"}}}}"#)), 3_200);
    assert_eq!(part(r#"{"type":"file","file":{"file_id":"file-1"}}"#), 1_600);
    assert_eq!(part(&format!(r#"{{"type":"video_url","video_url":"{data}"}}"#)), 1_600);
}

#[test]
fn prompts_and_inputs_come_in_four_shapes() {
    for endpoint in [Endpoint::Completions, Endpoint::Embeddings] {
        let name = if endpoint == Endpoint::Completions { "prompt" } else { "input" };
        let check = |value: &str, tokens: u64, rows: usize| {
            let body = format!(r#"{{"model":"m","{name}":{value}}}"#);
            let request = Request::parse(endpoint, body.as_bytes()).expect("valid");
            assert_eq!((request.input_tokens(), request.rows()), (tokens, rows), "{value}");
        };
        check(r#""hello world""#, 2, 1);
        check(r#"["hello","hello world"]"#, 3, 2);
        check("[1,2,3]", 3, 1);
        check("[[1,2],[3]]", 3, 2);
        for value in ["[]", "7", r#"["a",1]"#, "[1.5]", "[-1]", r#"[["a"]]"#, "{}", "[1,[2]]"] {
            let body = format!(r#"{{"model":"m","{name}":{value}}}"#);
            assert_eq!(Request::parse(endpoint, body.as_bytes()).expect_err(value).param, Some(name.to_owned()));
        }
    }
}

#[test]
fn completions_pay_for_best_of() {
    let body = r#"{"model":"m","prompt":"a","n":2,"best_of":5,"max_tokens":0}"#;
    let request = Request::parse(Endpoint::Completions, body.as_bytes()).expect("valid");
    assert_eq!((request.n, request.max_output_tokens), (5, Some(0)));
}

#[test]
fn the_last_user_message_is_found() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"a"},{"role":"user","content":[{"type":"text","text":"b"},
        {"type":"image_url","image_url":{}},{"type":"text","text":"\u00e9"}]},{"role":"assistant","content":"c"}]}"#;
    assert_eq!(parse(body).expect("valid").last_user_text(), "bé");
}

#[test]
fn an_unchanged_body_is_shared() {
    let body = Bytes::from(chat(r#","stream":true,"stream_options":{"include_usage":true}"#));
    let request = Request::parse(Endpoint::ChatCompletions, &body).expect("valid");
    assert_eq!(request.forward(&body, &aim("m")).body.as_ptr(), body.as_ptr());
}

#[test]
fn only_the_model_is_replaced() {
    assert_eq!(
        forward(r#"{"messages":[{}], "mod\u0065l" : "m" ,"metadata":{"a":"b"}, "temperature":1.0}"#, "a/\"b\""),
        r#"{"messages":[{}], "mod\u0065l" : "a/\"b\"" ,"metadata":{"a":"b"}, "temperature":1.0}"#
    );
}

#[test]
fn usage_is_asked_for_in_every_shape() {
    let with = |options: &str| format!(r#"{{"model":"m","stream":true{options},"messages":[{{}}]}}"#);
    let check = |before: &str, after: &str| assert_eq!(forward(&with(before), "m"), with(after));
    check(r#","stream_options":null"#, r#","stream_options":{"include_usage":true}"#);
    check(r#","stream_options":{ }"#, r#","stream_options":{"include_usage":true }"#);
    check(r#","stream_options":{"a":1}"#, r#","stream_options":{"include_usage":true,"a":1}"#);
    check(r#","stream_options":{"include_usage": false }"#, r#","stream_options":{"include_usage": true }"#);
    check(r#","stream_options":{"include_usage":null}"#, r#","stream_options":{"include_usage":true}"#);
    assert_eq!(
        forward(r#" {"model":"m","stream":true,"messages":[{}]}"#, "up"),
        r#" {"stream_options":{"include_usage":true},"model":"up","stream":true,"messages":[{}]}"#
    );
    assert_eq!(forward(r#"{"model":"m","stream":false,"messages":[{}]}"#, "m"), r#"{"model":"m","stream":false,"messages":[{}]}"#);
}

#[test]
fn embeddings_do_not_stream() {
    let body = Bytes::from_static(br#"{"model":"m","input":"a","stream":true,"encoding_format":"base64"}"#);
    let request = Request::parse(Endpoint::Embeddings, &body).expect("valid");
    assert!(!request.streamed);
    assert_eq!(request.forward(&body, &aim("m")).body, body);
}

#[test]
fn forwarded_bodies_are_fitted_to_older_servers() {
    let older = Quirks { stream_usage: false, max_completion_tokens: false, developer_role: false, sampling: false, ..Quirks::default() };
    let body = r#"{ "temperature":1, "stream_options":{"include_usage":true},"model":"m" ,
        "messages":[{"role":"developer","content":"\"role\":\"developer\""},{"role":"user","content":"x"}],
        "stream":true, "max_completion_tokens" : 7 , "top_p":0.5}"#;
    let (fitted_body, dropped) = fitted(body, "up", older);
    let expected = r#"{ "model":"up" ,
        "messages":[{"role":"system","content":"\"role\":\"developer\""},{"role":"user","content":"x"}],
        "stream":true, "max_tokens" : 7}"#;
    assert_eq!((&*fitted_body, &dropped[..]), (expected, &["temperature".to_owned(), "top_p".to_owned()][..]));
    let (both, _) = fitted(&chat(r#","max_tokens":5,"max_completion_tokens":7"#), "m", older);
    assert_eq!(both, chat(r#","max_tokens":5"#));
    let escaped = r#"{"m\u006fdel":"m","messages":[{"role":"devel\u006fper"}],"max\u005fcompletion_tokens":3,"a":"}{,\""}"#;
    assert_eq!(fitted(escaped, "m", older).0, r#"{"m\u006fdel":"m","messages":[{"role":"system"}],"max_tokens":3,"a":"}{,\""}"#);
    assert_eq!(fitted(body, "m", Quirks::default()), (body.to_owned(), Vec::new()), "nothing differs by default");
}
