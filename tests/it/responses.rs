//! `POST /v1/responses` as clients of OpenAI use it, and answers that are kept.

use std::time::Duration;

use pixgate::config::Settings;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    client::{Answer, Caller, Event, streamed},
    upstream::{Reply, completion, usage},
    world::{MODEL, UPSTREAM_MODEL, World, count, model, price},
};

const PATH: &str = "/v1/responses";
/// A model on an upstream that speaks chat completions only.
const TRANSLATED: &str = "test/translated";

async fn world(keeps: bool) -> World {
    furnished(World::with(|settings| settings.responses.store = keeps).await).await
}

async fn furnished(world: World) -> World {
    world.app.admin.create_upstream("chat-only", &world.upstream.base_url(), &json!({"provider": "openai_compatible"})).await;
    let mut translated = model(TRANSLATED, UPSTREAM_MODEL);
    translated["routes"] = json!([{"upstream": "chat-only", "upstream_model": UPSTREAM_MODEL}]);
    world.app.admin.create_model(&translated).await;
    world
}

fn ask(model: &str, input: impl Into<Value>) -> Value {
    json!({"model": model, "input": input.into()})
}

fn with(mut body: Value, fields: Value) -> Value {
    for (name, value) in fields.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

/// What a native upstream answers.
fn native(id: &str, text: &str) -> Value {
    let part = json!({"type": "output_text", "text": text, "annotations": [], "x_vendor": 1.5});
    json!({
        "id": id, "object": "response", "status": "completed", "model": "mock-model", "store": false, "previous_response_id": null,
        "output": [
            {"type": "reasoning", "id": format!("rs_{id}"), "summary": []},
            {"type": "message", "id": format!("msg_{id}"), "role": "assistant", "status": "completed", "content": [part]},
        ],
        "usage": {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 15},
    })
}

fn native_stream(response: &Value) -> Reply {
    let mut begun = response.clone();
    begun["status"] = json!("in_progress");
    begun["usage"] = Value::Null;
    let text = response["output"][1]["content"][0]["text"].clone();
    Reply::stream()
        .event(&json!({"type": "response.created", "sequence_number": 0, "response": begun}))
        .event(&json!({"type": "response.output_text.delta", "sequence_number": 1, "output_index": 1, "content_index": 0, "item_id": "m", "delta": text, "logprobs": []}))
        .event(&json!({"type": "response.completed", "sequence_number": 2, "response": response}))
        .end()
}

fn text_of(response: &Value) -> String {
    let items = response["output"].as_array().expect("items");
    let parts = items.iter().filter_map(|item| item["content"].as_array()).flatten();
    parts.filter_map(|part| part["text"].as_str()).collect()
}

async fn events(caller: &Caller, body: &Value) -> Vec<Value> {
    let mut stream = caller.stream(PATH, &streamed(body.clone())).await;
    let mut events = Vec::new();
    while let Some(event) = stream.next().await.expect("the stream ends in order") {
        match event {
            Event::Data(data) => events.push(data),
            Event::Done => panic!("no end mark in this dialect"),
        }
    }
    events
}

fn last(events: &[Value]) -> &Value {
    events.last().expect("an event")
}

#[tokio::test]
async fn a_chat_upstream_answers_responses() {
    let world = world(false).await;
    let body = with(
        ask(TRANSLATED, "Hi"),
        json!({"instructions": "Be brief", "max_output_tokens": 50, "temperature": 0.5, "reasoning": {"effort": "low"},
            "tools": [{"type": "function", "name": "look", "parameters": {"type": "object"}}]}),
    );
    let answer = world.caller.post(PATH, &body).await;
    let response = answer.expect(200);
    assert_eq!(text_of(&response), "Hello there");
    assert_eq!(
        (&response["object"], &response["status"], &response["model"]),
        (&json!("response"), &json!("completed"), &json!(TRANSLATED))
    );
    assert_eq!((&response["store"], &response["instructions"], &response["temperature"]), (&json!(false), &json!("Be brief"), &json!(0.5)));
    assert_eq!((response["usage"]["total_tokens"].as_i64(), answer.cost()), (Some(15), price(10, 5)));
    assert_eq!(answer.number("x-pixgate-cost-micros"), price(10, 5));
    let seen = world.upstream.last(UPSTREAM_MODEL);
    assert_eq!(seen.path, "/v1/chat/completions");
    let sent = seen.json();
    assert_eq!(sent["messages"][1]["content"], json!("Hi"));
    assert_eq!(sent["tools"][0]["function"]["name"], json!("look"));
    assert_eq!(world.usage_of(&answer.request_id()).await["endpoint"], json!(PATH));
    let found = world.caller.get(&format!("/v1/generation?id={}", response["id"].as_str().expect("an id"))).await;
    assert_eq!(found.expect(200)["data"]["request_id"], json!(answer.request_id()));
    world.finish().await;
}

#[tokio::test]
async fn a_chat_upstream_s_stream_becomes_typed_events() {
    let world = world(false).await;
    world.upstream.next(UPSTREAM_MODEL, [Reply::good_stream("one two three", Some((10, 5)))]);
    let events = events(&world.caller, &ask(TRANSLATED, "Count")).await;
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], json!(number), "{event}");
    }
    let deltas = events.iter().filter(|event| event["type"] == "response.output_text.delta");
    assert_eq!(deltas.map(|event| event["delta"].as_str().expect("a text")).collect::<String>(), "one two three");
    let end = last(&events);
    assert_eq!(end["type"], json!("response.completed"));
    assert_eq!((text_of(&end["response"]).as_str(), &end["response"]["usage"]["cost_micros"]), ("one two three", &json!(price(10, 5))));
    world.finish().await;
}

#[tokio::test]
async fn tool_calls_go_there_and_back() {
    let world = world(false).await;
    let mut said = completion("", Some(usage(10, 5)));
    said["choices"][0]["message"] = json!({"role": "assistant", "content": null,
        "tool_calls": [{"id": "call_9", "type": "function", "function": {"name": "look", "arguments": "{\"at\":\"\u{1F980}\"}"}}]});
    said["choices"][0]["finish_reason"] = json!("tool_calls");
    world.upstream.next(UPSTREAM_MODEL, [Reply::ok(&said)]);
    let tools = json!({"tools": [{"type": "function", "name": "look", "parameters": {"type": "object"}}]});
    let first = world.caller.post(PATH, &with(ask(TRANSLATED, "Look"), tools.clone())).await.expect(200);
    let call = &first["output"][0];
    assert_eq!(
        (&call["type"], &call["call_id"], &call["arguments"]),
        (&json!("function_call"), &json!("call_9"), &json!("{\"at\":\"\u{1F980}\"}"))
    );
    let input =
        json!([{"role": "user", "content": "Look"}, call, {"type": "function_call_output", "call_id": "call_9", "output": "a crab"}]);
    world.caller.post(PATH, &with(ask(TRANSLATED, input), tools)).await.expect(200);
    let messages = world.upstream.last(UPSTREAM_MODEL).json()["messages"].clone();
    assert_eq!(messages[1]["tool_calls"][0]["id"], json!("call_9"));
    assert_eq!(
        (&messages[2]["role"], &messages[2]["tool_call_id"], &messages[2]["content"]),
        (&json!("tool"), &json!("call_9"), &json!("a crab"))
    );
    world.finish().await;
}

#[tokio::test]
async fn the_built_in_model_takes_its_options_through_the_translation() {
    let world = world(false).await;
    let echo = |metadata: Value| with(ask("pixgate/echo", "one two three"), json!({"metadata": metadata}));
    let answered = world.caller.post(PATH, &echo(json!({}))).await.expect(200);
    assert_eq!(text_of(&answered), "one two three");
    world.caller.post(PATH, &echo(json!({"fail": "status:503"}))).await.refused(502, "upstream_error");
    let many = events(&world.caller, &echo(json!({"chunks": "5"}))).await;
    assert_eq!(many.iter().filter(|event| event["type"] == "response.output_text.delta").count(), 5);
    let broken = events(&world.caller, &echo(json!({"fail": "midstream"}))).await;
    let end = last(&broken);
    assert_eq!((&end["type"], &end["response"]["error"]["code"]), (&json!("response.failed"), &json!("server_error")));
    assert_eq!(broken[broken.len() - 2]["code"], json!("upstream_error"));
    world.finish().await;
}

#[tokio::test]
async fn a_native_upstream_gets_the_call_as_it_is_and_keeps_nothing() {
    let world = world(false).await;
    let said = native("resp_up", "Hello");
    world.upstream.next(UPSTREAM_MODEL, [Reply::ok(&said)]);
    let body =
        format!(r#"{{ "model":"{MODEL}","input":[{{"role":"user","content":"Hi"}}], "tools":[{{"type":"web_search"}}],"x_new":1.50 }}"#);
    let request = world.caller.request(Method::POST, PATH).header("content-type", "application/json").body(body.clone());
    let answer = Answer::of(request).await;
    let mut response = answer.expect(200);
    assert_eq!(answer.cost(), price(10, 5));
    let usage = response["usage"].as_object_mut().expect("usage");
    usage.remove("cost");
    usage.remove("cost_micros");
    assert_eq!(response, said, "nothing but the cost is added");
    let seen = world.upstream.last(UPSTREAM_MODEL);
    assert_eq!(seen.path, PATH);
    let expected = body.replace(MODEL, UPSTREAM_MODEL).replace("1.50 }", "1.50 ,\"store\":false}");
    assert_eq!(String::from_utf8_lossy(&seen.body), expected);

    world.upstream.next(UPSTREAM_MODEL, [native_stream(&said)]);
    let events = events(&world.caller, &ask(MODEL, "Hi")).await;
    assert_eq!(events.len(), 3);
    assert_eq!(last(&events)["response"]["usage"]["cost_micros"], json!(price(10, 5)));
    assert_eq!(last(&events)["response"]["id"], json!("resp_up"));
    world.finish().await;
}

#[tokio::test]
async fn a_native_stream_that_is_cut_ends_as_failed() {
    let world = world(false).await;
    let delta = json!({"type": "response.output_text.delta", "sequence_number": 4, "output_index": 0, "content_index": 0, "item_id": "m", "delta": "Hel", "logprobs": []});
    world.upstream.next(UPSTREAM_MODEL, [Reply::stream().event(&delta).then_cut()]);
    let events = events(&world.caller, &ask(MODEL, "Hi")).await;
    assert_eq!((&events[1]["type"], &events[1]["sequence_number"]), (&json!("error"), &json!(5)));
    assert_eq!((&events[2]["type"], &events[2]["response"]["status"]), (&json!("response.failed"), &json!("failed")));
    world.finish().await;
}

#[tokio::test]
async fn what_cannot_be_translated_is_refused_by_name_or_dropped() {
    let world = world(false).await;
    let body = with(ask(TRANSLATED, "Hi"), json!({"tools": [{"type": "web_search"}]}));
    let error = world.caller.post(PATH, &body).await.refused(400, "invalid_request");
    assert_eq!(error["param"], json!("tools[0].type"));
    assert_eq!(world.upstream.count(UPSTREAM_MODEL), 0);
    let answer = world.caller.post_with(PATH, &[("x-pixgate-drop-unsupported", "true")], &body).await;
    answer.expect(200);
    assert_eq!(answer.header("x-pixgate-dropped"), Some("tools[0].type"));
    for (field, value) in [("conversation", json!("conv_1")), ("background", json!(true))] {
        for name in [MODEL, TRANSLATED] {
            let error = world.caller.post(PATH, &with(ask(name, "Hi"), json!({field: value}))).await.refused(400, "invalid_request");
            assert_eq!(error["param"], json!(field));
        }
    }
    world.finish().await;
}

#[tokio::test]
async fn a_gateway_that_keeps_nothing_says_so() {
    let world = world(false).await;
    let error =
        world.caller.post(PATH, &with(ask(MODEL, "Hi"), json!({"previous_response_id": "resp_1"}))).await.refused(400, "invalid_request");
    assert_eq!(error["param"], json!("previous_response_id"));
    assert!(error["message"].as_str().is_some_and(|message| message.contains("responses.store")), "{error}");
    let reference = json!([{"type": "item_reference", "id": "msg_1"}]);
    let error = world.caller.post(PATH, &ask(MODEL, reference)).await.refused(400, "invalid_request");
    assert_eq!(error["param"], json!("input"));
    let kept = world.caller.post(PATH, &with(ask(TRANSLATED, "Hi"), json!({"store": true}))).await.expect(200);
    assert_eq!(kept["store"], json!(false));
    world.caller.get(&format!("{PATH}/{}", kept["id"].as_str().expect("an id"))).await.refused(404, "not_found");
    assert_eq!(world.upstream.count(UPSTREAM_MODEL), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_kept_answer_is_continued_and_its_items_are_paid_as_input() {
    let mut world = world(true).await;
    world.upstream.next(UPSTREAM_MODEL, [Reply::chat_without_usage("A crab"), Reply::chat_without_usage("Yes")]);
    let first = world.caller.post(PATH, &with(ask(TRANSLATED, "What is this?"), json!({"instructions": "Be brief"}))).await.expect(200);
    let id = first["id"].as_str().expect("an id").to_owned();
    assert_eq!((&first["store"], &first["previous_response_id"]), (&json!(true), &Value::Null));

    world.app.restart().await;
    let answer = world.caller.post(PATH, &with(ask(TRANSLATED, "Sure?"), json!({"previous_response_id": id}))).await;
    let second = answer.expect(200);
    assert_eq!((&second["previous_response_id"], &second["instructions"]), (&json!(id), &Value::Null));
    let messages = world.upstream.last(UPSTREAM_MODEL).json()["messages"].clone();
    let said: Vec<(&str, &str)> = messages
        .as_array()
        .expect("messages")
        .iter()
        .map(|message| (message["role"].as_str().unwrap(), message["content"].as_str().unwrap()))
        .collect();
    assert_eq!(said, [("user", "What is this?"), ("assistant", "A crab"), ("user", "Sure?")], "without the earlier instructions");
    let words = count("What is this?") + count("A crab") + count("Sure?");
    assert!(second["usage"]["input_tokens"].as_i64().expect("tokens") >= words, "{second}");

    // The chain goes on, and the middle one can be asked for.
    let third = with(ask(TRANSLATED, "Really?"), json!({"previous_response_id": second["id"], "store": false}));
    let third = world.caller.post(PATH, &third).await.expect(200);
    assert_eq!(world.upstream.last(UPSTREAM_MODEL).json()["messages"].as_array().map(Vec::len), Some(5));
    let fetched = world.caller.get(&format!("{PATH}/{}", second["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(fetched, second);
    world.caller.get(&format!("{PATH}/{}", third["id"].as_str().unwrap())).await.refused(404, "not_found");
    let lost = with(ask(TRANSLATED, "x"), json!({"previous_response_id": third["id"]}));
    let error = world.caller.post(PATH, &lost).await.refused(400, "previous_response_not_found");
    assert_eq!(error["param"], json!("previous_response_id"));
    world.finish().await;
}

#[tokio::test]
async fn a_native_upstream_never_sees_our_ids() {
    let world = world(true).await;
    let replies =
        [Reply::ok(&native("resp_up1", "one")), native_stream(&native("resp_up2", "two")), Reply::ok(&native("resp_up3", "three"))];
    world.upstream.next(UPSTREAM_MODEL, replies);
    let first = world.caller.post(PATH, &ask(MODEL, "1")).await.expect(200);
    assert_ne!(first["id"], json!("resp_up1"));
    assert_eq!(first["store"], json!(true));

    // A stream is kept before its last event, so that it can be continued at once.
    let events = events(&world.caller, &with(ask(MODEL, "2"), json!({"previous_response_id": first["id"]}))).await;
    let second = last(&events)["response"].clone();
    assert_eq!((&events[0]["response"]["id"], &second["previous_response_id"]), (&second["id"], &first["id"]));
    let third = with(ask(MODEL, json!([{"role": "user", "content": "3"}])), json!({"previous_response_id": second["id"]}));
    world.caller.post(PATH, &third).await.expect(200);

    let sent = world.upstream.last(UPSTREAM_MODEL).json();
    assert_eq!((&sent["store"], &sent["previous_response_id"]), (&json!(false), &Value::Null));
    let input = sent["input"].as_array().expect("items");
    let kinds: Vec<(&str, String)> = input
        .iter()
        .map(|item| {
            (
                item["role"].as_str().unwrap_or("?"),
                item["content"].as_str().map_or_else(|| item["content"][0]["text"].as_str().unwrap().to_owned(), str::to_owned),
            )
        })
        .collect();
    let expected = [("user", "1"), ("assistant", "one"), ("user", "2"), ("assistant", "two"), ("user", "3")];
    assert_eq!(kinds, expected.map(|(role, text)| (role, text.to_owned())), "thoughts that nobody sealed cannot go back");
    assert_eq!(input[1]["content"][0]["x_vendor"], json!(1.5), "items go back as they came");
    world.finish().await;
}

#[tokio::test]
async fn kept_answers_belong_to_their_account() {
    let world = world(true).await;
    let (_, other) = world.another("other", 1_000_000).await;
    let kept = world.caller.post(PATH, &ask(TRANSLATED, "secret")).await.expect(200);
    let id = kept["id"].as_str().expect("an id");
    let path = format!("{PATH}/{id}");
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::DELETE, path.clone()),
        (Method::GET, format!("{path}/input_items")),
        (Method::POST, format!("{path}/cancel")),
    ] {
        Answer::of(other.request(method.clone(), &path)).await.refused(404, "not_found");
        Answer::of(other.anonymous(method, &path)).await.refused(401, "invalid_api_key");
    }
    other.post(PATH, &with(ask(TRANSLATED, "x"), json!({"previous_response_id": id}))).await.refused(400, "previous_response_not_found");
    let reference = json!([{"type": "item_reference", "id": kept["output"][0]["id"]}]);
    let error = other.post(PATH, &ask(TRANSLATED, reference)).await.refused(400, "invalid_request");
    assert_eq!(error["param"], json!("input[0]"));
    assert_eq!(world.caller.get(&path).await.expect(200), kept, "the owner's is untouched");
    world.finish().await;
}

#[tokio::test]
async fn kept_answers_are_listed_deleted_and_never_cancelled() {
    let world = world(true).await;
    let input = json!([{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}, {"role": "user", "content": "three"}]);
    let kept = world.caller.post(PATH, &ask(TRANSLATED, input)).await.expect(200);
    let path = format!("{PATH}/{}", kept["id"].as_str().expect("an id"));
    let texts = |page: &Value| -> Vec<String> {
        page["data"].as_array().expect("items").iter().map(|item| item["content"][0]["text"].as_str().expect("a text").to_owned()).collect()
    };
    let all = world.caller.get(&format!("{path}/input_items")).await.expect(200);
    assert_eq!((texts(&all), &all["has_more"]), (vec!["three".to_owned(), "two".to_owned(), "one".to_owned()], &json!(false)));
    let page = world.caller.get(&format!("{path}/input_items?order=asc&limit=2")).await.expect(200);
    assert_eq!((texts(&page), &page["has_more"]), (vec!["one".to_owned(), "two".to_owned()], &json!(true)));
    let rest =
        world.caller.get(&format!("{path}/input_items?order=asc&after={}", page["last_id"].as_str().expect("an id"))).await.expect(200);
    assert_eq!((texts(&rest), &rest["first_id"]), (vec!["three".to_owned()], &rest["last_id"]));
    for query in ["limit=0", "limit=101", "order=up", "after=nothing"] {
        world.caller.get(&format!("{path}/input_items?{query}")).await.refused(400, "invalid_request");
    }
    world.caller.get(&format!("{path}?stream=true")).await.refused(400, "invalid_request");
    world.caller.post(&format!("{path}/cancel"), &json!({})).await.refused(400, "invalid_request");

    let deleted = world.caller.delete(&path).await.expect(200);
    assert_eq!(deleted, json!({"id": kept["id"], "object": "response", "deleted": true}));
    world.caller.get(&path).await.refused(404, "not_found");
    world.caller.delete(&path).await.refused(404, "not_found");
    world.finish().await;
}

#[tokio::test]
async fn items_may_be_named_instead_of_sent() {
    let world = world(true).await;
    world.upstream.next(UPSTREAM_MODEL, [Reply::chat("A crab", 10, 5), Reply::chat("Yes", 10, 5)]);
    let first = world.caller.post(PATH, &ask(TRANSLATED, "What is this?")).await.expect(200);
    let named = json!([{"role": "user", "content": "What is this?"}, {"type": "item_reference", "id": first["output"][0]["id"]}, {"role": "user", "content": "Sure?"}]);
    let second = world.caller.post(PATH, &ask(TRANSLATED, named)).await.expect(200);
    let messages = world.upstream.last(UPSTREAM_MODEL).json()["messages"].clone();
    assert_eq!((&messages[1]["role"], &messages[1]["content"]), (&json!("assistant"), &json!("A crab")));
    let items = world.caller.get(&format!("{PATH}/{}/input_items?order=asc", second["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(items["data"][1]["content"][0]["text"], json!("A crab"), "kept as what it named");
    world.finish().await;
}

#[tokio::test]
async fn kept_answers_expire_one_by_one() {
    let keeps_a_day = |settings: &mut Settings| {
        settings.responses.store = true;
        settings.responses.retention_days = 1;
    };
    let world = furnished(World::manual(keeps_a_day).await).await;
    let first = world.caller.post(PATH, &ask(TRANSLATED, "Hi")).await.expect(200);
    let path = format!("{PATH}/{}", first["id"].as_str().expect("an id"));
    world.app.advance(Duration::from_secs(20 * 3_600));
    let second = world.caller.post(PATH, &with(ask(TRANSLATED, "x"), json!({"previous_response_id": first["id"]}))).await.expect(200);
    world.app.advance(Duration::from_secs(5 * 3_600));
    world.caller.get(&path).await.refused(404, "not_found");
    // Nothing is made up for what is gone.
    let later = with(ask(TRANSLATED, "x"), json!({"previous_response_id": second["id"]}));
    let error = world.caller.post(PATH, &later).await.refused(400, "previous_response_not_found");
    assert!(error["message"].as_str().is_some_and(|message| message.contains(first["id"].as_str().unwrap())), "{error}");
    world.finish().await;
}

#[tokio::test]
async fn conversations_have_an_end() {
    let world = furnished(
        World::with(|settings| {
            settings.responses.store = true;
            settings.server.max_body_bytes = 8_000;
        })
        .await,
    )
    .await;
    let mut previous = Value::Null;
    let mut refused = None;
    for _ in 0..10 {
        let answer = world.caller.post(PATH, &with(ask(TRANSLATED, "x".repeat(1_000)), json!({"previous_response_id": previous}))).await;
        if answer.status != 200 {
            refused = Some(answer.refused(400, "invalid_request"));
            break;
        }
        previous = answer.json()["id"].clone();
    }
    let error = refused.expect("a limit");
    assert_eq!(error["param"], json!("previous_response_id"));
    assert!(error["message"].as_str().is_some_and(|message| message.contains("8000 bytes")), "{error}");
    world.finish().await;
}

#[tokio::test]
async fn a_stream_that_failed_or_was_not_to_be_kept_is_not() {
    let world = world(true).await;
    let replies = [Reply::stream().role().say("one ").then_cut(), Reply::good_stream("one two", Some((10, 5)))];
    world.upstream.next(UPSTREAM_MODEL, replies);
    let failed = events(&world.caller, &ask(TRANSLATED, "Hi")).await;
    let unkept = events(&world.caller, &with(ask(TRANSLATED, "Hi"), json!({"store": false}))).await;
    for (events, kind) in [(failed, "response.failed"), (unkept, "response.completed")] {
        assert_eq!(last(&events)["type"], json!(kind));
        let id = last(&events)["response"]["id"].as_str().expect("an id").to_owned();
        world.caller.get(&format!("{PATH}/{id}")).await.refused(404, "not_found");
    }
    world.finish().await;
}

#[tokio::test]
async fn input_is_counted_for_nothing() {
    let world = world(true).await;
    let counted = |body: Value| {
        let caller = world.caller.clone();
        async move { caller.post(&format!("{PATH}/input_tokens"), &body).await.expect(200) }
    };
    let plain = counted(ask(TRANSLATED, "hello world")).await;
    assert_eq!(plain["object"], json!("response.input_tokens"));
    let tokens = plain["input_tokens"].as_i64().expect("a count");
    assert!((2..20).contains(&tokens), "{tokens}");
    let first = world.caller.post(PATH, &ask(TRANSLATED, "hello world")).await.expect(200);
    let spent = world.spent().await;
    let chained = counted(with(ask(TRANSLATED, "hello world"), json!({"previous_response_id": first["id"]}))).await;
    assert!(chained["input_tokens"].as_i64().expect("a count") > tokens);
    world.caller.post(&format!("{PATH}/input_tokens"), &ask("no/model", "x")).await.refused(404, "model_not_found");
    assert_eq!(world.spent().await, spent);
    assert_eq!(world.upstream.count(UPSTREAM_MODEL), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_replayed_answer_is_the_kept_one() {
    let world = world(true).await;
    let headers = [("idempotency-key", "once")];
    let first = world.caller.post_with(PATH, &headers, &ask(TRANSLATED, "Hi")).await.expect(200);
    let again = world.caller.post_with(PATH, &headers, &ask(TRANSLATED, "Hi")).await.expect(200);
    assert_eq!(first, again);
    assert_eq!(world.caller.get(&format!("{PATH}/{}", first["id"].as_str().unwrap())).await.expect(200), first);
    assert_eq!(world.upstream.count(UPSTREAM_MODEL), 1);
    world.finish().await;
}
