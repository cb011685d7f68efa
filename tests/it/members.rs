//! Teams: invitations, roles, and what each role may do, over sockets.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    browser::{Browser, register, token, verified},
    client::Answer,
};

const ACTING_FOR: &str = "x-pixgate-account";

async fn id_of(browser: &mut Browser) -> String {
    browser.get("/api/v1/me").await.expect(200)["id"].as_str().unwrap().to_owned()
}

async fn acting(browser: &Browser, account: &str, method: Method, path: &str, body: &Value) -> Answer {
    let request = browser.request(method, path).header(ACTING_FOR, account);
    Answer::of(if body.is_null() { request } else { request.json(body) }).await
}

/// Makes somebody with an account a member.
async fn join(app: &TestApp, owner: &mut Browser, email: &str, role: &str) -> (Browser, String) {
    let mut member = verified(app, email).await;
    owner.post("/api/v1/members/invitations", &json!({"email": email, "role": role})).await.expect(201);
    let token = token(app, email, "team_invitation").await;
    let joined = member.post("/api/v1/invitations/accept", &json!({"token": token})).await.expect(200);
    assert_eq!(joined["role"], json!(role));
    let id = id_of(&mut member).await;
    (member, id)
}

#[tokio::test]
async fn somebody_is_invited_joins_and_leaves() {
    let app = TestApp::start(|_| {}).await;
    let mut ada = verified(&app, "ada@example.com").await;
    let team = id_of(&mut ada).await;
    let invited = ada.post("/api/v1/members/invitations", &json!({"email": "Bob@Example.com", "role": "developer"})).await.expect(201);
    assert_eq!((&invited["email"], &invited["invited_by"]), (&json!("bob@example.com"), &json!(team)));
    assert_eq!(ada.get("/api/v1/members/invitations").await.expect(200)["data"], json!([invited]));
    let link = token(&app, "bob@example.com", "team_invitation").await;
    assert!(!app.database.dump().await.contains(&link), "tokens are kept as digests");
    let body = json!({"token": link});

    let mut eve = verified(&app, "eve@example.com").await;
    eve.post("/api/v1/invitations/accept", &body).await.refused(400, "invalid_token");
    let mut bob = register(&app, "bob@example.com").await;
    bob.sign_in("bob@example.com", crate::support::browser::PASSWORD).await.expect(200);
    bob.post("/api/v1/invitations/accept", &body).await.refused(403, "email_unverified");
    let proof = token(&app, "bob@example.com", "verify_email").await;
    bob.post("/api/v1/auth/verify", &json!({"token": proof})).await.expect(200);
    bob.post("/api/v1/invitations/accept", &body).await.expect(200);
    bob.post("/api/v1/invitations/accept", &body).await.refused(400, "invalid_token");
    let bob_id = id_of(&mut bob).await;

    let accounts = bob.get("/api/v1/accounts").await.expect(200);
    assert_eq!(accounts["data"].as_array().unwrap().iter().map(|account| &account["role"]).collect::<Vec<_>>(), ["owner", "developer"]);
    let listed = ada.get("/api/v1/members").await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().iter().map(|member| &member["id"]).collect::<Vec<_>>(), [&json!(team), &json!(bob_id)]);
    assert_eq!(acting(&bob, &team, Method::GET, "/api/v1/me", &Value::Null).await.expect(200)["role"], json!("developer"));
    acting(&eve, &team, Method::GET, "/api/v1/me", &Value::Null).await.refused(404, "not_found");
    ada.post("/api/v1/members/invitations", &json!({"email": "bob@example.com", "role": "admin"})).await.refused(409, "conflict");

    let path = format!("/api/v1/members/{bob_id}");
    acting(&bob, &team, Method::DELETE, &path, &Value::Null).await.expect(204);
    acting(&bob, &team, Method::GET, "/api/v1/keys", &Value::Null).await.refused(404, "not_found");
    let trail = app.admin.caller.get(&format!("/admin/v1/audit?subject={team}")).await.expect(200);
    let actions: Vec<_> = trail["data"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert!(["member.invite", "member.join", "member.leave"].iter().all(|action| actions.contains(action)), "{actions:?}");
    assert!(!trail.to_string().contains("bob@example.com"), "{trail}");
    app.finish().await;
}

#[tokio::test]
async fn invitations_end() {
    let app = TestApp::manual(|_| {}).await;
    let mut ada = verified(&app, "ada@example.com").await;
    let mut bob = verified(&app, "bob@example.com").await;
    let invite = json!({"email": "bob@example.com", "role": "billing"});
    ada.post("/api/v1/members/invitations", &invite).await.expect(201);
    let first = token(&app, "bob@example.com", "team_invitation").await;
    app.advance(Duration::from_secs(1));
    let newest = ada.post("/api/v1/members/invitations", &invite).await.expect(201);
    let second = token(&app, "bob@example.com", "team_invitation").await;
    bob.post("/api/v1/invitations/accept", &json!({"token": first})).await.refused(400, "invalid_token");
    let path = format!("/api/v1/members/invitations/{}", newest["id"].as_str().unwrap());
    bob.send(Method::DELETE, &path, &Value::Null).await.refused(404, "not_found");
    ada.send(Method::DELETE, &path, &Value::Null).await.expect(204);
    bob.post("/api/v1/invitations/accept", &json!({"token": second})).await.refused(400, "invalid_token");
    app.finish().await;
}

#[tokio::test]
async fn who_may_change_whom() {
    let app = TestApp::start(|_| {}).await;
    let mut ada = verified(&app, "ada@example.com").await;
    let team = id_of(&mut ada).await;
    let (admin, admin_id) = join(&app, &mut ada, "admin@example.com", "admin").await;
    let (_, other_id) = join(&app, &mut ada, "other@example.com", "admin").await;
    let (developer, developer_id) = join(&app, &mut ada, "developer@example.com", "developer").await;
    let path = |id: &str| format!("/api/v1/members/{id}");
    let role = |role: &str| json!({ "role": role });
    let patch = async |who: &Browser, id: &str, to: &str| acting(who, &team, Method::PATCH, &path(id), &role(to)).await;
    patch(&admin, &developer_id, "admin").await.refused(403, "role_missing");
    patch(&admin, &other_id, "read_only").await.refused(403, "role_missing");
    patch(&admin, &admin_id, "owner").await.refused(403, "role_missing");
    patch(&admin, &team, "read_only").await.refused(409, "conflict");
    patch(&ada, &admin_id, "owner").await.refused(403, "role_missing");
    acting(&admin, &team, Method::DELETE, &path(&other_id), &Value::Null).await.refused(403, "role_missing");
    acting(&admin, &team, Method::DELETE, &path(&team), &Value::Null).await.refused(409, "conflict");
    acting(&admin, &team, Method::POST, "/api/v1/members/invitations", &json!({"email": "x@example.com", "role": "admin"}))
        .await
        .refused(403, "role_missing");

    // A key of scope `account` may do what an admin may, so it is not a developer's to make or to copy.
    let keys = "/api/v1/keys";
    let account_key = json!({"title": "all", "scopes": ["account"]});
    acting(&developer, &team, Method::POST, keys, &account_key).await.refused(403, "role_missing");
    let made = acting(&admin, &team, Method::POST, keys, &account_key).await.expect(201);
    let rotate = format!("{keys}/{}/rotate", made["id"].as_str().unwrap());
    acting(&developer, &team, Method::POST, &rotate, &json!({})).await.refused(403, "role_missing");

    assert_eq!(patch(&admin, &developer_id, "read_only").await.expect(200)["role"], json!("read_only"));
    acting(&developer, &team, Method::POST, keys, &json!({"title": "k"})).await.refused(403, "role_missing");

    // What somebody sent who may invite no more does not let anybody in.
    let mut late = verified(&app, "late@example.com").await;
    acting(&admin, &team, Method::POST, "/api/v1/members/invitations", &json!({"email": "late@example.com", "role": "billing"}))
        .await
        .expect(201);
    patch(&ada, &admin_id, "developer").await.expect(200);
    let link = token(&app, "late@example.com", "team_invitation").await;
    late.post("/api/v1/invitations/accept", &json!({"token": link})).await.refused(400, "invalid_token");
    app.finish().await;
}

/// The least that each route asks for; the roles behind it may, the others are refused by their role.
#[tokio::test]
async fn every_route_honours_roles() {
    const ALL: [&str; 4] = ["admin", "developer", "billing", "read_only"];
    let app = TestApp::start(|_| {}).await;
    let mut ada = verified(&app, "ada@example.com").await;
    let team = id_of(&mut ada).await;
    let none = Value::Null;
    let routes: [(Method, &str, Value, &[&str]); 29] = [
        (Method::GET, "/api/v1/me", none.clone(), &ALL),
        (Method::PATCH, "/api/v1/me", json!({"locale": "en"}), &["admin"]),
        (Method::PATCH, "/api/v1/me", json!({"email": "new@example.com", "password": "x"}), &[]),
        (Method::POST, "/api/v1/me/totp", json!({"password": "x"}), &[]),
        (Method::DELETE, "/api/v1/me/totp", json!({"password": "x"}), &[]),
        (Method::POST, "/api/v1/me/recovery-codes", json!({"password": "x"}), &[]),
        (Method::GET, "/api/v1/me/image", none.clone(), &ALL),
        (Method::PUT, "/api/v1/me/image", json!({}), &["admin"]),
        (Method::DELETE, "/api/v1/me/image", none.clone(), &["admin"]),
        (Method::GET, "/api/v1/me/policies", none.clone(), &ALL),
        (Method::POST, "/api/v1/me/policies", json!({"document": "terms", "version": "x"}), &ALL),
        (Method::GET, "/api/v1/keys", none.clone(), &ALL),
        (Method::POST, "/api/v1/keys", json!({"title": "k"}), &["admin", "developer"]),
        (Method::GET, "/api/v1/keys/key_x", none.clone(), &ALL),
        (Method::PATCH, "/api/v1/keys/key_x", json!({}), &["admin", "developer"]),
        (Method::DELETE, "/api/v1/keys/key_x", none.clone(), &["admin", "developer"]),
        (Method::POST, "/api/v1/keys/key_x/rotate", json!({}), &["admin", "developer"]),
        (Method::GET, "/api/v1/keys/key_x/audit", none.clone(), &ALL),
        (Method::GET, "/api/v1/tickets", none.clone(), &ALL),
        (Method::POST, "/api/v1/tickets", json!({"title": "t", "message": "m"}), &["admin", "developer", "billing"]),
        (Method::GET, "/api/v1/tickets/tkt_x", none.clone(), &ALL),
        (Method::PATCH, "/api/v1/tickets/tkt_x", json!({}), &["admin", "developer", "billing"]),
        (Method::POST, "/api/v1/tickets/tkt_x/messages", json!({"message": "m"}), &["admin", "developer", "billing"]),
        (Method::GET, "/api/v1/members", none.clone(), &ALL),
        (Method::GET, "/api/v1/members/invitations", none.clone(), &["admin"]),
        (Method::POST, "/api/v1/members/invitations", json!({"email": "new@example.com", "role": "read_only"}), &["admin"]),
        (Method::DELETE, "/api/v1/members/invitations/mtk_x", none.clone(), &["admin"]),
        (Method::PATCH, "/api/v1/members/acc_x", json!({"role": "billing"}), &["admin"]),
        (Method::DELETE, "/api/v1/members/acc_x", none.clone(), &["admin"]),
    ];
    for role in ALL {
        let (member, _) = join(&app, &mut ada, &format!("{}@example.com", role.replace('_', "-")), role).await;
        for (method, path, body, may) in &routes {
            let answer = acting(&member, &team, method.clone(), path, body).await;
            let is_refused = answer.status == 403 && answer.text.contains("role_missing");
            assert_eq!(is_refused, !may.contains(&role), "{role} {method} {path}: {} {}", answer.status, answer.text);
            assert!(answer.status < 500 && answer.status != 405, "{role} {method} {path}: {} {}", answer.status, answer.text);
        }
    }
    app.finish().await;
}
