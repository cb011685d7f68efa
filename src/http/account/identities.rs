//! Signing in with Google and GitHub: `/api/v1/auth/oauth/…`, and what is linked: `/api/v1/me/identities`.
//!
//! People come here by links and are sent back by the provider, so a browser (`Accept: text/html`) gets pages, and anything else JSON.

use actix_web::{
    HttpRequest, HttpResponse,
    cookie::{Cookie, SameSite, time},
    http::{
        StatusCode,
        header::{ACCEPT, LOCATION},
    },
    web,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    auth::no_store,
    me::{PasswordBody, confirmed, person},
    owner::{Account, check_origin, session_cookie},
    pages::{page, said},
    session::{Me, cookie, device_cookie, escape},
    visitor::{self, Visitor},
};
use crate::{
    control::{
        self, Control,
        owner::Owner,
        people::{self, BeginSignIn, Finished, Return, SignedIn},
    },
    dialect::Dialect,
    domain::{
        identity::{IdentityProvider, IdentityRefusal},
        member::Role,
        refusal::Refusal,
    },
    http::{
        admin::{
            extract::{Json, Query},
            only,
        },
        error::ApiError,
        headers::Audience,
        request_id,
        views::rfc3339,
    },
    store::identities::Identity,
    telemetry::redact::Secret,
};

/// Cookies that tie what is under way to a browser. Browsers take the first names over TLS only, and only for the whole host.
const BROWSER_COOKIE: [&str; 2] = ["__Host-px_oauth", "px_oauth"];
const SECOND_FACTOR_COOKIE: [&str; 2] = ["__Host-px_second_factor", "px_second_factor"];
const COOKIE_SECONDS: i64 = 600;
const SECOND_FACTOR_PAGE: &str = "/auth/second-factor";

pub fn configure(routes: &mut web::ServiceConfig) {
    let one =
        web::resource("/api/v1/me/identities/{provider}").route(web::post().to(link_identity)).route(web::delete().to(unlink_identity));
    let get = |path: &str| web::resource(path.to_owned()).default_service(only("GET"));
    let post = |path: &str| web::resource(path.to_owned()).default_service(only("POST"));
    routes
        .service(post("/api/v1/auth/oauth/second-factor").route(web::post().to(oauth_second_factor)))
        .service(get("/api/v1/auth/oauth/{provider}").route(web::get().to(begin_oauth)))
        .service(get("/api/v1/auth/oauth/{provider}/callback").route(web::get().to(oauth_callback)))
        .service(post(SECOND_FACTOR_PAGE).route(web::post().to(second_factor_form)))
        .service(get("/api/v1/me/identities").route(web::get().to(list_identities)))
        .service(one.default_service(only("POST, DELETE")));
}

/// How a provider sends somebody back.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CallbackQuery {
    #[serde(default)]
    #[param(value_type = String)]
    state: Secret,
    #[serde(default)]
    #[param(value_type = Option<String>)]
    code: Option<Secret>,
    /// What went wrong at the provider, for example `access_denied`.
    #[serde(default)]
    error: Option<String>,
    /// The provider's issuer (RFC 9207), from those that tell.
    #[serde(default)]
    iss: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecondFactorBody {
    /// Of the app.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub code: Option<Secret>,
    /// Instead of `code`; each works once.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub recovery_code: Option<Secret>,
}

/// Another way into the account.
#[derive(Debug, Serialize, ToSchema)]
pub struct IdentityView {
    pub provider: IdentityProvider,
    /// What the provider had verified when it was linked.
    pub email: String,
    pub linked_at: String,
}

impl From<Identity> for IdentityView {
    fn from(identity: Identity) -> Self {
        Self { provider: identity.provider, email: identity.email, linked_at: rfc3339(identity.created_at) }
    }
}

/// All of them, on one page.
#[derive(Debug, Serialize, ToSchema)]
pub struct Identities {
    pub data: Vec<IdentityView>,
    pub has_more: bool,
    pub next_cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct LinkBegun {
    /// Send the browser there.
    pub url: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct LinkDone {
    pub status: &'static str,
    pub provider: IdentityProvider,
}

fn named(text: &str) -> Result<IdentityProvider, ApiError> {
    IdentityProvider::parse(text)
        .ok_or_else(|| ApiError::not_found(format!("'{text}' is no provider to sign in with; google and github are")))
}

fn wants_page(request: &HttpRequest) -> bool {
    request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accepted| accepted.contains("text/html"))
}

fn held(request: &HttpRequest, control: &Control, names: [&str; 2]) -> Option<Secret> {
    let name = if control.site.is_https() { names[0] } else { names[1] };
    request.cookie(name).map(|cookie| Secret::new(cookie.value()))
}

fn short_cookie(control: &Control, names: [&'static str; 2], token: String) -> Cookie<'static> {
    let name = if control.site.is_https() { names[0] } else { names[1] };
    let cookie = Cookie::build(name, token).path("/").http_only(true).same_site(SameSite::Lax).secure(control.site.is_https());
    cookie.max_age(time::Duration::seconds(COOKIE_SECONDS)).finish()
}

fn removed(control: &Control, names: [&'static str; 2]) -> Cookie<'static> {
    let mut cookie = short_cookie(control, names, String::new());
    cookie.make_removal();
    cookie
}

/// A failure as a browser or a program wants it.
fn told(request: &HttpRequest, error: ApiError) -> Result<HttpResponse, ApiError> {
    if wants_page(request) { Ok(said(Err(error))) } else { Err(error) }
}

/// Sign in with Google or GitHub
///
/// Sends the browser to the provider, which sends it back to `…/callback`. A person whom the provider does not link with an account yet
/// gets one if the provider has verified their mail address, no account has it, and `accept_terms` and `age_confirmed` say what
/// registering asks for. Needs a browser that keeps cookies.
#[utoipa::path(get, path = "/api/v1/auth/oauth/{provider}", tag = "Account",
    params(("provider" = IdentityProvider, Path, description = "Whom to sign in with"), BeginSignIn),
    responses((status = 302, description = "To the provider"), (status = 404, description = "`not_found`: the provider is not set up"),
        (status = 429, description = "`rate_limit_exceeded`"), (status = 502, description = "`identity_provider_error`")))]
pub async fn begin_oauth(
    request: HttpRequest,
    visitor: Visitor,
    provider: web::Path<String>,
    Query(wish): Query<BeginSignIn>,
) -> Result<HttpResponse, ApiError> {
    let control = visitor.control;
    let provider = named(&provider)?;
    let browser = held(&request, &control, BROWSER_COOKIE);
    let work =
        |control: Control| async move { people::begin_sign_in(&control, provider, browser.as_ref().map(Secret::expose), wish).await };
    match control.to_the_end(work).await {
        Ok(begun) => {
            let mut response = no_store(HttpResponse::Found());
            response.cookie(short_cookie(&control, BROWSER_COOKIE, begun.browser)).insert_header((LOCATION, begun.url));
            Ok(response.finish())
        }
        Err(error) => told(&request, error.into()),
    }
}

/// The way back from the provider
///
/// Signs in: sets the session cookie and goes to `return_to`, or answers with the account. Where the second factor is on, a cookie waits
/// for its code at `/api/v1/auth/oauth/second-factor`. Each `state` works once, for ten minutes, in the browser it was begun in.
#[utoipa::path(get, path = "/api/v1/auth/oauth/{provider}/callback", tag = "Account",
    params(("provider" = IdentityProvider, Path, description = "Who sends somebody back"), CallbackQuery),
    responses((status = 200, body = Me), (status = 303, description = "To `return_to`"), (status = 400, description = "`invalid_state`"),
        (status = 401, description = "`sign_in_rejected`, `second_factor_required`"),
        (status = 403, description = "`access_denied`, `email_unverified`, `agreement_missing`, `sign_up_closed`, `account_suspended`"),
        (status = 404, description = "No such provider, or it is not configured"),
        (status = 409, description = "`account_exists`: link the provider after signing in; `identity_linked`"),
        (status = 502, description = "`identity_provider_error`")))]
pub async fn oauth_callback(
    request: HttpRequest,
    visitor: Visitor,
    provider: web::Path<String>,
    Query(query): Query<CallbackQuery>,
) -> Result<HttpResponse, ApiError> {
    let Visitor { control, visitor } = visitor;
    let provider = named(&provider)?;
    let back = Return {
        provider,
        state: query.state,
        code: query.code,
        error: query.error,
        issuer: query.iss,
        browser: held(&request, &control, BROWSER_COOKIE),
        session_token: session_cookie(&request).map(|cookie| Secret::new(cookie.value())),
    };
    let finished = control.to_the_end(|control| async move { people::finish_sign_in(&control, &visitor, back).await }).await;
    match finished {
        Ok(Finished::SignedIn { signed_in, return_to }) => signed_in_answer(&request, &control, signed_in, return_to),
        Ok(Finished::SecondFactor { token }) => second_factor_wanted(&request, &control, token),
        Ok(Finished::AgreementMissing { begun }) if wants_page(&request) => Ok(agreement_page(&control, provider, begun)),
        Ok(Finished::AgreementMissing { .. }) => Err(Refusal::from(IdentityRefusal::AgreementMissing(provider)).into()),
        Ok(Finished::Linked { provider }) if wants_page(&request) => {
            Ok(said(Ok(format!("{} is linked. You can sign in with it from now on.", provider.title()))))
        }
        Ok(Finished::Linked { provider }) => Ok(no_store(HttpResponse::Ok()).json(LinkDone { status: "linked", provider })),
        Err(error) => told(&request, error.into()),
    }
}

fn signed_in_answer(
    request: &HttpRequest,
    control: &Control,
    signed_in: SignedIn,
    return_to: Option<String>,
) -> Result<HttpResponse, ApiError> {
    let cookies = [
        cookie(control, signed_in.session_token.clone()),
        device_cookie(control, signed_in.device),
        removed(control, SECOND_FACTOR_COOKIE),
    ];
    let mut response = match return_to {
        Some(path) => no_store(HttpResponse::SeeOther()).insert_header((LOCATION, path)).finish(),
        None if wants_page(request) => said(Ok(format!("You are signed in as {}.", signed_in.account.email))),
        None => {
            let csrf_token = control::owner::csrf_token(control, &signed_in.session_token);
            let mut me = Me::of(signed_in.account, Role::Owner, Some(csrf_token));
            me.second_factor = signed_in.second_factor;
            no_store(HttpResponse::Ok()).json(me)
        }
    };
    add_cookies(&mut response, &cookies)?;
    Ok(response)
}

fn add_cookies(response: &mut HttpResponse, cookies: &[Cookie<'static>]) -> Result<(), ApiError> {
    for cookie in cookies {
        response.add_cookie(cookie).map_err(|error| ApiError::invalid(format!("the cookie: {error}"), None))?;
    }
    Ok(())
}

fn second_factor_wanted(request: &HttpRequest, control: &Control, token: String) -> Result<HttpResponse, ApiError> {
    let message = "this account has a second factor: POST its code to /api/v1/auth/oauth/second-factor, as 'code' or 'recovery_code'";
    let mut response = if wants_page(request) {
        second_factor_page(StatusCode::OK, "")
    } else {
        let error = ApiError::new(StatusCode::UNAUTHORIZED, "second_factor_required", message);
        error.respond(&request_id::of(request).shown, Audience { dialect: Dialect::OpenAi, now: control.clock.now() })
    };
    add_cookies(&mut response, &[short_cookie(control, SECOND_FACTOR_COOKIE, token)])?;
    Ok(response)
}

fn second_factor_page(status: StatusCode, hint: &str) -> HttpResponse {
    let field = |name: &str, label: &str| {
        format!("<p><label>{label}<br><input type=\"text\" name=\"{name}\" autocomplete=\"one-time-code\" maxlength=\"40\"></label></p>")
    };
    let hint = if hint.is_empty() { String::new() } else { format!("<p role=\"alert\">{}</p>", escape(hint)) };
    let fields = format!("{}{}", field("code", "Code of your app"), field("recovery_code", "Or a recovery code"));
    let form = format!(
        "{hint}<form method=\"post\" action=\"{SECOND_FACTOR_PAGE}\">{fields}<p><button type=\"submit\">Sign in</button></p></form>"
    );
    page(status, "Second factor", &form)
}

/// A link and no form: browsers apply `form-action` to where a form's answer sends them, too.
fn agreement_page(control: &Control, provider: IdentityProvider, begun: BeginSignIn) -> HttpResponse {
    let least = control.people.policy.age_min_years;
    let age = if least > 0 { format!(", and that you are {least} years old or older") } else { String::new() };
    let url = format!("/api/v1/auth/oauth/{}?{}", provider.as_str(), agreed(begun));
    let content = format!(
        "<p>There is no account for you yet. By making one you agree to the <a href=\"/policies/terms\">terms</a> and the \
         <a href=\"/policies/privacy\">privacy policy</a>{age}.</p><p><a href=\"{}\">Agree, and continue with {}</a></p>",
        escape(&url),
        provider.title()
    );
    page(StatusCode::OK, "One more step", &content)
}

/// The query that begins the same sign-in with an agreement. A version of the terms that was shown before does not count for this page.
fn agreed(begun: BeginSignIn) -> String {
    let fields = [
        ("return_to", begun.return_to),
        ("locale", begun.locale),
        ("ref", begun.referral),
        ("utm_source", begun.utm_source),
        ("utm_medium", begun.utm_medium),
        ("utm_campaign", begun.utm_campaign),
        ("utm_term", begun.utm_term),
        ("utm_content", begun.utm_content),
    ];
    let kept = fields.into_iter().filter_map(|(name, value)| Some(format!("&{name}={}", utf8_percent_encode(&value?, NON_ALPHANUMERIC))));
    kept.fold("accept_terms=true&age_confirmed=true".to_owned(), |query, field| query + &field)
}

/// The second factor behind a provider
///
/// Ends a sign-in that was answered with `second_factor_required`, in the same browser, within five minutes.
#[utoipa::path(post, path = "/api/v1/auth/oauth/second-factor", tag = "Account", request_body = SecondFactorBody,
    responses((status = 200, body = Me), (status = 303, description = "To `return_to`"),
        (status = 401, description = "`invalid_state`, `second_factor_required`, `invalid_code`"), (status = 429, description = "`rate_limit_exceeded`")))]
pub async fn oauth_second_factor(
    request: HttpRequest,
    visitor: Visitor,
    Json(body): Json<SecondFactorBody>,
) -> Result<HttpResponse, ApiError> {
    let control = visitor.control.clone();
    let (signed_in, return_to) = give_code(&request, visitor, body).await?;
    signed_in_answer(&request, &control, signed_in, return_to)
}

async fn second_factor_form(request: HttpRequest, visitor: Visitor, form: web::Form<SecondFactorBody>) -> Result<HttpResponse, ApiError> {
    check_origin(&request, &visitor.control)?;
    let control = visitor.control.clone();
    let SecondFactorBody { code, recovery_code } = form.into_inner();
    let given = |field: Option<Secret>| field.filter(|text| !text.expose().trim().is_empty());
    let body = SecondFactorBody { code: given(code), recovery_code: given(recovery_code) };
    match give_code(&request, visitor, body).await {
        Ok((signed_in, return_to)) => signed_in_answer(&request, &control, signed_in, return_to),
        // One more try is all it takes.
        Err(error) if matches!(error.code, "invalid_code" | "second_factor_required") => {
            Ok(second_factor_page(error.status, &error.message))
        }
        Err(error) => Ok(said(Err(error))),
    }
}

async fn give_code(request: &HttpRequest, visitor: Visitor, body: SecondFactorBody) -> Result<(SignedIn, Option<String>), ApiError> {
    let Visitor { control, visitor } = visitor;
    let token = held(request, &control, SECOND_FACTOR_COOKIE).unwrap_or_default();
    let work = |control: Control| async move {
        let (code, recovery_code) = (body.code.as_ref().map(Secret::expose), body.recovery_code.as_ref().map(Secret::expose));
        people::finish_second_factor(&control, &visitor, token.expose(), code, recovery_code).await
    };
    Ok(control.to_the_end(work).await?)
}

/// What is linked
///
/// The providers that open the account.
#[utoipa::path(get, path = "/api/v1/me/identities", tag = "Account", security(("key" = [])), responses((status = 200, body = Identities)))]
pub async fn list_identities(caller: Account) -> Result<HttpResponse, ApiError> {
    let caller = person(caller)?;
    let linked = people::list_identities(&caller.control, &caller.owner.person_id).await?;
    let data = linked.into_iter().map(IdentityView::from).collect();
    Ok(no_store(HttpResponse::Ok()).json(Identities { data, has_more: false, next_cursor: None }))
}

/// Link a provider
///
/// Answers with where to send the browser; its way back links the provider. Needs a session and the password, or a mailed code in an
/// account without one.
#[utoipa::path(post, path = "/api/v1/me/identities/{provider}", tag = "Account", security(("key" = [])), request_body = PasswordBody,
    params(("provider" = IdentityProvider, Path, description = "Whom to link")),
    responses((status = 200, body = LinkBegun), (status = 401, description = "`invalid_credentials`, `invalid_code`"),
        (status = 403, description = "`email_unverified`, `csrf_failed`, `account_suspended`"), (status = 404, description = "`not_found`: the provider is not set up"),
        (status = 409, description = "`identity_linked`"), (status = 502, description = "`identity_provider_error`")))]
pub async fn link_identity(
    request: HttpRequest,
    caller: Account,
    provider: web::Path<String>,
    Json(body): Json<PasswordBody>,
) -> Result<HttpResponse, ApiError> {
    let provider = named(&provider)?;
    let caller = confirmed(&request, caller, &body).await?;
    let control = caller.control.clone();
    let browser = held(&request, &control, BROWSER_COOKIE);
    let work =
        |control, owner: Owner| async move { people::begin_link(&control, &owner, provider, browser.as_ref().map(Secret::expose)).await };
    let begun = caller.change(work).await?;
    let mut response = no_store(HttpResponse::Ok());
    response.cookie(short_cookie(&control, BROWSER_COOKIE, begun.browser));
    Ok(response.json(LinkBegun { url: begun.url }))
}

/// Unlink a provider
///
/// Refused when nothing else opens the account. Needs a session and the password, or a mailed code in an account without one.
#[utoipa::path(delete, path = "/api/v1/me/identities/{provider}", tag = "Account", security(("key" = [])), request_body = PasswordBody,
    params(("provider" = IdentityProvider, Path, description = "Whom to unlink")),
    responses((status = 204, description = "Unlinked"), (status = 401, description = "`invalid_credentials`, `invalid_code`"),
        (status = 404, description = "`not_found`: it is not linked"), (status = 409, description = "`last_way_in`")))]
pub async fn unlink_identity(
    request: HttpRequest,
    caller: Account,
    provider: web::Path<String>,
    Json(body): Json<PasswordBody>,
) -> Result<HttpResponse, ApiError> {
    let provider = named(&provider)?;
    let caller = confirmed(&request, caller, &body).await?;
    let visitor = visitor::of(&request);
    let work = |control, owner: Owner| async move { people::unlink_identity(&control, &visitor, &owner, provider).await };
    caller.change(work).await?;
    Ok(no_store(HttpResponse::NoContent()).finish())
}
