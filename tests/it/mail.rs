//! Mails: from their cause over the outbox to a mail server, and what happens when there is none or it will not.

use std::{fs, path::Path, time::Duration};

use pixgate::{
    clock::Clock,
    config::{Settings, secrets},
    domain::mail::{Locale, Message},
    store::{self, Db, Durability, Options, outbox::NewMail, seal::Sealer},
};
use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    client::{eventually, until},
    process::TestProcess,
    smtp::{Fault, SENDER, Smtp},
    world::World,
};

const OWNER: &str = "owner@example.com";
const TOKEN: &str = "s3cr3t-t0k3n";

async fn world(smtp: &Smtp) -> World {
    World::manual(|settings| smtp.receive_from(settings)).await
}

async fn suspend(world: &World, account: &str) {
    world.app.admin.patch_account(account, &json!({"status": "suspended", "reason": "unpaid <b>bills</b>"})).await;
}

/// The one mail of the outbox for this address, once its status is this.
async fn mail_in(app: &TestApp, to: &str, status: &str) -> Value {
    eventually(&format!("a {status} mail to {to}"), || async {
        let mails = app.admin.caller.list(&format!("/admin/v1/mails?status={status}")).await;
        mails.into_iter().find(|mail| mail["recipient"] == json!(to))
    })
    .await
}

/// The same, once its try has ended in an error.
async fn failed_mail(app: &TestApp, to: &str) -> Value {
    eventually("a failed try", || async {
        let mails = app.admin.caller.list("/admin/v1/mails?status=pending").await;
        mails.into_iter().find(|mail| mail["recipient"] == json!(to) && mail["last_error"].is_string())
    })
    .await
}

#[tokio::test]
async fn a_change_and_its_mail_go_together() {
    let smtp = Smtp::start().await;
    let world = world(&smtp).await;
    suspend(&world, &world.account).await;
    let mail = smtp.next_to(OWNER).await;
    assert_eq!(mail.subject, "Your account was suspended");
    assert!(mail.text.contains("Reason: unpaid <b>bills</b>"), "{}", mail.text);
    assert!(mail.html.contains("unpaid &#60;b&#62;bills") && !mail.html.contains("<b>"), "{}", mail.html);
    let row = mail_in(&world.app, OWNER, "sent").await;
    assert_eq!(mail.header("from"), Some(SENDER));
    assert_eq!(mail.header("auto-submitted"), Some("auto-generated"));
    assert_eq!(mail.header("reply-to"), None);
    assert_eq!(mail.header("message-id"), Some(format!("<{}@mail.example>", row["id"].as_str().unwrap()).as_str()));
    assert_eq!((&row["kind"], &row["attempts"], &row["account_id"]), (&json!("account_suspended"), &json!(1), &json!(world.account)));
    assert!(row["sent_at"].is_string() && row["last_error"].is_null(), "{row}");
    assert_eq!(world.app.database.number("SELECT COUNT(*) FROM outbox WHERE sealed_message IS NOT NULL").await, 0);

    // The same state again is no news.
    suspend(&world, &world.account).await;
    world.app.admin.patch_account(&world.account, &json!({"status": "active"})).await;
    assert_eq!(smtp.next_to(OWNER).await.subject, "Your account was reinstated");
    assert_eq!(smtp.count_to(OWNER), 2);

    let metrics = world.app.admin.caller.get("/metrics").await.text;
    assert!(metrics.contains("pixgate_mails_total{outcome=\"sent\"} 2"), "{metrics}");
    world.finish().await;
}

#[tokio::test]
async fn mails_come_in_the_language_of_their_reader() {
    let smtp = Smtp::start().await;
    let world = world(&smtp).await;
    let sql = format!("UPDATE accounts SET locale = 'zh-CN' WHERE id = '{}' RETURNING CAST(1 AS BIGINT)", world.account);
    world.app.database.number(&sql).await;
    suspend(&world, &world.account).await;
    let mail = smtp.next_to(OWNER).await;
    assert_eq!(mail.subject, "您的账户已被暂停");
    assert!(mail.text.contains("原因：unpaid") && mail.html.contains("lang=\"zh-CN\""), "{} {}", mail.text, mail.html);
    assert!(mail.header("subject").unwrap().is_ascii());
    world.finish().await;
}

#[tokio::test]
async fn a_mail_that_is_not_taken_now_is_tried_later() {
    let smtp = Smtp::start().await;
    let world = world(&smtp).await;
    for (name, fault, says) in [
        ("greylisted", Fault::Answer("450 4.2.1 come back later".to_owned()), "come back later"),
        ("cut", Fault::Drop, ""),
        ("unauthenticated", Fault::Answer("530 5.7.0 sign in first".to_owned()), "sign in first"),
    ] {
        let (account, _) = world.another(name, 0).await;
        let to = format!("{name}@example.com");
        smtp.refuse(&to, fault);
        suspend(&world, &account).await;
        let row = failed_mail(&world.app, &to).await;
        assert_eq!(row["attempts"], json!(1), "{row}");
        assert!(row["last_error"].as_str().unwrap().contains(says), "{row}");
        smtp.accept(&to);
    }
    assert_eq!(smtp.count_to("greylisted@example.com"), 0);
    world.app.advance(Duration::from_secs(120));
    // Another mail wakes the mailer, which then sends all that is due.
    suspend(&world, &world.account).await;
    smtp.next_to(OWNER).await;
    for name in ["greylisted", "cut", "unauthenticated"] {
        let to = format!("{name}@example.com");
        smtp.next_to(&to).await;
        assert_eq!(mail_in(&world.app, &to, "sent").await["attempts"], json!(2));
    }
    world.finish().await;
}

#[tokio::test]
async fn a_refused_mail_is_dead_until_an_admin_tries_it_again() {
    let smtp = Smtp::start().await;
    let world = world(&smtp).await;
    let admin = &world.app.admin.caller;
    smtp.refuse(OWNER, Fault::Answer("550 5.1.1 no such user".to_owned()));
    suspend(&world, &world.account).await;
    let row = mail_in(&world.app, OWNER, "dead").await;
    assert!(row["last_error"].as_str().unwrap().contains("no such user"), "{row}");
    assert_eq!(row["attempts"], json!(1));
    let path = format!("/admin/v1/mails/{}", row["id"].as_str().unwrap());

    smtp.accept(OWNER);
    admin.post(&format!("{path}/retry"), &json!({})).await.expect(200);
    smtp.next_to(OWNER).await;
    mail_in(&world.app, OWNER, "sent").await;
    assert_eq!(admin.get(&path).await.expect(200)["status"], json!("sent"));
    admin.post(&format!("{path}/retry"), &json!({})).await.expect(409);
    admin.delete(&path).await.success();
    admin.get(&path).await.expect(404);
    admin.delete(&path).await.expect(404);
    admin.post(&format!("{path}/retry"), &json!({})).await.expect(404);
    admin.get("/admin/v1/mails?status=lost").await.expect(400);
    world.caller.get("/admin/v1/mails").await.expect(403);
    world.finish().await;
}

#[tokio::test]
async fn admins_try_the_mail_server() {
    let smtp = Smtp::start().await;
    let world = world(&smtp).await;
    let admin = &world.app.admin.caller;
    let test = admin.post("/admin/v1/mails/test", &json!({"to": "me@example.com", "locale": "zh"})).await.expect(200);
    assert_eq!(test["ok"], json!(true));
    assert!(test["answer"].as_str().unwrap().contains("250 2.0.0 kept"), "{test}");
    assert_eq!(smtp.next_to("me@example.com").await.subject, "Pixgate 测试邮件");
    smtp.refuse("me@example.com", Fault::Answer("554 5.7.1 go away".to_owned()));
    let test = admin.post("/admin/v1/mails/test", &json!({"to": "me@example.com"})).await.expect(200);
    assert!(test["ok"] == json!(false) && test["answer"].as_str().unwrap().contains("go away"), "{test}");
    admin.post("/admin/v1/mails/test", &json!({"to": "nobody"})).await.expect(400);
    world.finish().await;

    let app = TestApp::start(|_| {}).await;
    app.admin.caller.post("/admin/v1/mails/test", &json!({"to": "me@example.com"})).await.expect(409);
    app.finish().await;
}

/// Puts a mail into the outbox of a gateway with this data folder and database, as a use case of `age` ago would have.
async fn put(process: &TestProcess, to: &str, age: Duration) {
    let secrets = secrets::load_or_create(&process.data_dir(), &Settings::default()).expect("the secrets");
    let sealer = Sealer::new(&secrets.sealing_key).expect("a sealer");
    let options = Options {
        url: process.database.url.clone(),
        durability: Durability::Process,
        max_connections: 2,
        busy_timeout_ms: 5_000,
        acquire_timeout_ms: 5_000,
    };
    let db = Db::open(&options).await.expect("the database");
    let clock = Clock::system();
    let mail = NewMail {
        id: clock.new_id("mail"),
        account_id: None,
        recipient: to.to_owned(),
        locale: Locale::En,
        message: Message::VerifyEmail { link: format!("http://127.0.0.1/auth/verify?token={TOKEN}") },
        created_at: clock.now() - i64::try_from(age.as_micros()).expect("a short time"),
    };
    store::outbox::enqueue(&db, &sealer, &mail).await.expect("a row");
    db.close().await.expect("closed");
}

fn holds(folder: &Path, needle: &str) -> bool {
    let files = fs::read_dir(folder).expect("a folder").filter_map(Result::ok).filter(|entry| entry.path().is_file());
    files
        .map(|entry| fs::read(entry.path()).unwrap_or_default())
        .any(|bytes| bytes.windows(needle.len()).any(|part| part == needle.as_bytes()))
}

// The catcher answers while the test waits for a command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_mail_server_links_are_printed_and_mails_kept() {
    let mut process = TestProcess::start(&[]).await;
    put(&process, OWNER, Duration::ZERO).await;
    let line = format!("verify_email to {OWNER}: http://127.0.0.1/auth/verify?token={TOKEN}\n");
    until("the link is printed", || process.stdout().contains(&line)).await;
    let held = eventually("the mail is held", || async { process.admin.caller.list("/admin/v1/mails?status=held").await.pop() }).await;
    assert_eq!((&held["attempts"], &held["recipient"]), (&json!(0), &json!(OWNER)));
    // What sits in the database tells nobody the token, and neither does the log.
    if process.database.is_postgres() {
        let sql = format!("SELECT COUNT(*) FROM outbox WHERE encode(sealed_message, 'escape') LIKE '%{TOKEN}%'");
        assert_eq!(process.database.number(&sql).await, 0);
    } else {
        let file = process.database.url.strip_prefix("sqlite://").expect("a file").to_owned();
        let folder = Path::new(&file).parent().expect("a folder").to_owned();
        for name in ["test.sqlite", "test.sqlite-wal"] {
            let bytes = fs::read(folder.join(name)).unwrap_or_default();
            assert!(!bytes.windows(TOKEN.len()).any(|part| part == TOKEN.as_bytes()), "{name}");
        }
        assert!(holds(&folder, "owner@example.com"), "the search would find it");
    }
    assert_eq!(process.database.number("SELECT COUNT(*) FROM outbox WHERE sealed_message IS NOT NULL").await, 1);

    // A start with a mail server sends what was kept, unless it is too old to be of use.
    process.terminate();
    assert_eq!(process.ended().await, 0);
    assert_eq!(process.stdout().matches(TOKEN).count(), 1, "printed once");
    assert!(!process.stderr().contains(TOKEN));
    put(&process, "late@example.com", Duration::from_secs(25 * 3_600)).await;
    let smtp = Smtp::start().await;
    process.set("MAIL__SMTP_URL", &smtp.url);
    process.set("MAIL__FROM", SENDER);
    process.spawn();
    process.ready().await;
    let mail = smtp.next_to(OWNER).await;
    assert_eq!((mail.link(), mail.token()), (format!("http://127.0.0.1/auth/verify?token={TOKEN}"), TOKEN.to_owned()));
    let dead = eventually("the old mail is dead", || async { process.admin.caller.list("/admin/v1/mails?status=dead").await.pop() }).await;
    assert_eq!(dead["recipient"], json!("late@example.com"));
    assert!(dead["last_error"].as_str().unwrap().starts_with("expired"), "{dead}");
    let retry = format!("/admin/v1/mails/{}/retry", dead["id"].as_str().unwrap());
    process.admin.caller.post(&retry, &json!({})).await.expect(409);
    assert_eq!(smtp.count_to("late@example.com"), 0);

    let (code, table) = process.run(&["doctor"]);
    assert!(table.contains("mail server") && table.contains("takes mails"), "{code} {table}");
    process.finish().await;
}

#[tokio::test]
async fn wrong_mail_settings_are_named() {
    let mut process = TestProcess::prepare(&[("MAIL__SMTP_URL", "smtp://127.0.0.1:1")]).await;
    let (code, says) = process.run(&["check-config"]);
    assert!(code == 2 && says.contains("mail.from: is needed"), "{code} {says}");
    process.set("MAIL__FROM", "nobody");
    let (code, says) = process.run(&["check-config"]);
    assert!(code == 2 && says.contains("mail.from"), "{code} {says}");
    process.set("MAIL__FROM", SENDER);
    process.set("MAIL__SMTP_URL", "smtp://me:hunter2@127.0.0.1:1?tls=maybe");
    let (code, says) = process.run(&["check-config"]);
    assert!(code == 2 && says.contains("MAIL__SMTP_URL") && !says.contains("hunter2"), "{code} {says}");
}
