//! Every mail in Chinese (simplified).

use super::letter::{Letter, moment, one_line};
use crate::{
    dialect::credits_text,
    domain::{Timestamp, mail::Message},
};

const NOT_YOU: &str = "如果不是您本人操作，请立即重置密码并退出所有会话。";
const IGNORE: &str = "如果您没有提出此请求，请忽略本邮件，不会有任何更改。";
const ONCE: &str = "该链接只能使用一次，并且会在一段时间后失效。请勿转发。";

pub fn signature(public_url: &str) -> String {
    format!("本邮件由 Pixgate（{public_url} ）自动发送，请勿回复。")
}

pub fn test() -> Letter {
    Letter::new("Pixgate 测试邮件", "管理员发送了本邮件以测试邮件设置。如果您能看到它，说明设置有效。")
}

fn time(at: Timestamp) -> String {
    moment(at, "%Y年%-m月%-d日 %H:%M（UTC）")
}

/// One arm a mail: a table of words, which a split would only make harder to read.
pub fn letter(message: &Message) -> Letter {
    match message {
        Message::VerifyEmail { link } => Letter::new("请验证您的邮箱地址", "欢迎使用 Pixgate。请确认此邮箱地址属于您，以便开始使用账户。")
            .link("验证邮箱地址", link)
            .note(ONCE)
            .note(IGNORE),
        Message::AlreadyRegistered { link } => {
            Letter::new("您已拥有账户", "有人尝试使用此邮箱地址注册，但您已拥有账户。您可以直接登录或重置密码。")
                .link("前往您的账户", link)
                .note(IGNORE)
        }
        Message::ResetPassword { link } => Letter::new("重置您的密码", "您请求为账户设置新密码。设置后，所有会话都将退出。")
            .link("设置新密码", link)
            .note(ONCE)
            .note(IGNORE),
        Message::PasswordChanged { at, ip } => {
            Letter::new("您的密码已更改", "您账户的密码已被更改。").fact("时间", &time(*at)).fact_if("IP 地址", ip.as_deref()).note(NOT_YOU)
        }
        Message::ConfirmNewEmail { link } => Letter::new("请确认您的新邮箱地址", "您请求将此地址用于您的账户。请确认以完成更改。")
            .link("确认新地址", link)
            .note(ONCE)
            .note(IGNORE),
        Message::EmailChanged { new_email } => Letter::new("您的邮箱地址已更改", "您账户的邮箱地址已被更改。今后的邮件将发送到新地址。")
            .fact("新地址", new_email)
            .note("如果不是您本人操作，请立即联系本服务的运营者。"),
        Message::NewSignIn { at, ip, user_agent } => Letter::new("您的账户有新的登录", "有人从未曾见过的地点或设备登录了您的账户。")
            .fact("时间", &time(*at))
            .fact_if("IP 地址", ip.as_deref())
            .fact_if("浏览器", user_agent.as_deref())
            .note("如果是您本人，则无需任何操作。")
            .note(NOT_YOU),
        Message::SecondFactorChanged { enabled: true } => {
            Letter::new("已开启两步验证", "您的账户现已受两步验证保护。请妥善保管恢复码。").note(NOT_YOU)
        }
        Message::SecondFactorChanged { enabled: false } => {
            Letter::new("已关闭两步验证", "您账户的两步验证已关闭，现在仅凭密码即可登录。").note(NOT_YOU)
        }
        Message::IdentityChanged { provider, linked: true } => {
            Letter::new("新增登录方式", "您的账户已关联新的登录方式，无需密码即可登录您的账户。").fact("平台", provider).note(NOT_YOU)
        }
        Message::IdentityChanged { provider, linked: false } => {
            Letter::new("登录方式已移除", "您的账户已取消关联一种登录方式，它不再能登录您的账户。").fact("平台", provider).note(NOT_YOU)
        }
        Message::ConfirmationCode { code, purpose } => Letter::new("您的验证码", "请使用此验证码确认是您本人操作。我们绝不会向您索要它。")
            .fact("验证码", code)
            .fact("用途", purpose)
            .note("验证码仅在短时间内有效。")
            .note(IGNORE),
        Message::KeyLeaked { title, prefix, last4, found_at } => {
            Letter::new("您的一个 API 密钥已泄露", "您的一个 API 密钥在公开场所被发现，现已被吊销，不再有效。请在需要的地方创建新密钥。")
                .fact("密钥", title)
                .fact("开头", prefix)
                .fact("结尾", last4)
                .fact_if("发现于", found_at.as_deref())
        }
        Message::KeyIsWeak { title, prefix, expires_at } => {
            let until = expires_at.map(time);
            Letter::new("请更换您的一个 API 密钥", "您的一个 API 密钥类型陈旧或强度不足，请尽快更换为新密钥。")
                .fact("密钥", title)
                .fact("开头", prefix)
                .fact_if("有效期至", until.as_deref())
        }
        Message::TeamInvitation { account, inviter, role, link } => {
            Letter::new("账户邀请", "您被邀请在 Pixgate 上协作使用一个账户。接受之前，请确认邀请人的身份。")
                .link("查看邀请", link)
                .fact("账户", account)
                .fact("邀请人", inviter)
                .fact("角色", role)
                .note(ONCE)
                .note(IGNORE)
        }
        Message::PrivacyRequest { request, link } => {
            Letter::new("请确认您的隐私请求", "我们收到了一个与此邮箱地址的个人数据有关的请求。请确认该请求来自您，否则不会执行。")
                .link("确认请求", link)
                .fact("请求", request)
                .note(ONCE)
                .note(IGNORE)
        }
        Message::ExportReady { link, expires_at } => Letter::new("您的数据已准备就绪", "您请求的数据副本已准备就绪。")
            .link("下载数据", link)
            .fact("有效期至", &time(*expires_at))
            .note("请勿转发该链接：它指向个人数据。"),
        Message::DeletionScheduled { due_at, link } => {
            Letter::new("您的账户将被删除", "您的账户及其数据将被删除。在此之前，您可以改变主意。")
                .link("保留账户", link)
                .fact("删除时间", &time(*due_at))
        }
        Message::DeletionDone { completed_at, record } => {
            Letter::new("您的账户已删除", "您的账户及其数据已被删除。请保存下面的编号，它是删除的证明。")
                .fact("完成时间", &time(*completed_at))
                .fact("记录编号", record)
        }
        Message::PolicyChanged { document, version, effective_at, link } => {
            Letter::new("我们的条款有更新", "您同意过的一份文件有了新版本。")
                .link("阅读新版本", link)
                .fact("文件", document)
                .fact("版本", version)
                .fact("生效时间", &time(*effective_at))
        }
        Message::AccountSuspended { reason } => {
            let reason = one_line(reason);
            let letter = Letter::new("您的账户已被暂停", "您的账户已被暂停。恢复之前，其 API 密钥将被拒绝。");
            if reason.is_empty() { letter } else { letter.fact("原因", &reason) }
        }
        Message::AccountReinstated {} => Letter::new("您的账户已恢复", "您的账户已恢复，其 API 密钥可以再次使用。"),
        Message::TicketReply { ticket_id, title, link } => {
            Letter::new("您的工单有新回复", "您的工单有一条新回复。").link("查看回复", link).fact("工单", ticket_id).fact("标题", title)
        }
        Message::TicketForStaff { ticket_id, title, link } => {
            Letter::new("客户写了工单消息", "一位客户写了工单消息。").link("查看工单", link).fact("工单", ticket_id).fact("标题", title)
        }
        Message::LowBalance { available_micros, link } => Letter::new("您的额度即将用尽", "您的额度即将用尽。用尽之后，调用将被拒绝。")
            .link("充值", link)
            .fact("剩余额度", &credits_text(*available_micros)),
    }
}
