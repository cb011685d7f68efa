//! `POST /v1/rerank` over an upstream that speaks Cohere's own format.

use serde_json::{Value, json};

use crate::support::{
    upstream::Reply,
    world::{World, model, token_price},
};

const PATH: &str = "/v1/rerank";
const MODEL: &str = "test/rerank";
const UPSTREAM_MODEL: &str = "rerank-x";

async fn world() -> World {
    let world = World::new().await;
    let fields = json!({"provider": "cohere", "base_url": world.upstream.host_url(), "api_key": "cohere-secret"});
    world.app.admin.create_upstream("cohere", "", &fields).await;
    let mut entry = model(MODEL, UPSTREAM_MODEL);
    entry["kind"] = json!("rerank");
    entry["prices"] = json!([token_price("search", 50)]);
    entry["routes"] = json!([{"upstream": "cohere", "upstream_model": UPSTREAM_MODEL}]);
    world.app.admin.create_model(&entry).await;
    world
}

fn ranked(search_units: u64) -> Value {
    let results = json!([{"index": 1, "relevance_score": 0.90}, {"index": 0, "relevance_score": 1e-5}]);
    json!({"id": "r-1", "results": results, "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": search_units}}})
}

#[tokio::test]
async fn a_rerank_is_asked_in_coheres_words_and_costs_what_cohere_bills() {
    let world = world().await;
    world.upstream.next(UPSTREAM_MODEL, [Reply::ok(&ranked(3))]);
    let body = json!({"model": MODEL, "query": "q", "documents": ["a", {"text": "b"}], "top_n": 2, "return_documents": true, "user": "u"});
    let answer = world.caller.post(PATH, &body).await;
    let said = answer.expect(200);
    let results = json!([{"index": 1, "relevance_score": 0.90, "document": {"text": "b"}},
        {"index": 0, "relevance_score": 1e-5, "document": {"text": "a"}}]);
    assert_eq!((&said["results"], &said["model"]), (&results, &json!(MODEL)));
    assert_eq!((answer.cost(), answer.header("x-pixgate-dropped")), (150, Some("user")));
    let row = world.usage_of(&answer.request_id()).await;
    assert_eq!((&row["estimated"], &row["upstream"], &row["endpoint"]), (&json!(false), &json!("cohere"), &json!(PATH)));
    let seen = world.upstream.last(UPSTREAM_MODEL);
    assert_eq!((seen.path.as_str(), seen.header("authorization")), ("/v2/rerank", Some("Bearer cohere-secret")));
    assert_eq!(seen.json(), json!({"model": UPSTREAM_MODEL, "query": "q", "documents": ["a", "b"], "top_n": 2}));

    // Without a report, a call is one search.
    world.upstream.next(UPSTREAM_MODEL, [Reply::ok(&json!({"results": []}))]);
    let answer = world.caller.post(PATH, &json!({"model": MODEL, "query": "q", "documents": ["a"]})).await;
    answer.expect(200);
    assert_eq!((answer.cost(), world.spent().await), (50, 200));
    world.finish().await;
}

#[tokio::test]
async fn what_cohere_refuses_or_botches_costs_nothing() {
    let world = world().await;
    let body = json!({"model": MODEL, "query": "q", "documents": ["a"]});
    world.upstream.next(UPSTREAM_MODEL, [Reply::http(422, &[], &json!({"message": "too many documents"}))]);
    let error = world.caller.post(PATH, &body).await.refused(400, "invalid_request");
    assert!(error["message"].as_str().is_some_and(|message| message.contains("too many documents")), "{error}");
    let nobodys = json!({"results": [{"index": 7, "relevance_score": 0.5}]});
    for reply in [Reply::ok(&nobodys), Reply::ok(&json!({"message": "odd"})), Reply::http(500, &[], &json!({"message": "down"}))] {
        world.upstream.always(UPSTREAM_MODEL, reply);
        world.caller.post(PATH, &body).await.refused(502, "upstream_error");
    }
    let refused = |body: Value| {
        let caller = world.caller.clone();
        async move { caller.post(PATH, &body).await.refused(400, "invalid_request")["param"].clone() }
    };
    let calls = world.upstream.count(UPSTREAM_MODEL);
    let image = json!({"model": MODEL, "query": "q", "documents": [{"image": "x"}]});
    assert_eq!(refused(image).await, json!("documents"));
    let unknown = json!({"model": MODEL, "query": "q", "documents": ["a"], "truncation": true});
    assert_eq!(refused(unknown).await, json!("truncation"));
    assert_eq!(world.upstream.count(UPSTREAM_MODEL), calls, "the upstream is not called");
    assert_eq!(world.spent().await, 0);
    world.finish().await;
}
