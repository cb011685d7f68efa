//! Who may do what for an account.

use serde::{Deserialize, Serialize};

/// What somebody is to an account. The owner is the account's own person; the others are members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    ReadOnly,
    Billing,
    Developer,
    Admin,
    Owner,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read_only",
            Self::Billing => "billing",
            Self::Developer => "developer",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    pub fn may(self, permission: Permission) -> bool {
        match permission {
            Permission::Read => true,
            Permission::ManageKeys => self >= Self::Developer,
            Permission::ManageTickets => self != Self::ReadOnly,
            Permission::ManageBilling => self == Self::Billing || self >= Self::Admin,
            Permission::ManageMembers => self >= Self::Admin,
            Permission::ManageAccount => self == Self::Owner,
        }
    }
}

impl Role {
    /// Whether somebody with this role may take a person from the role `from` (`None`: a stranger) to `to` (`None`: out). Nobody becomes
    /// or stops being the owner; admins are the owner's to make.
    pub fn may_move(self, from: Option<Self>, to: Option<Self>) -> bool {
        let below = |bound: Self| from.is_none_or(|role| role < bound) && to.is_none_or(|role| role < bound);
        match self {
            Self::Owner => below(Self::Owner),
            Self::Admin => below(Self::Admin),
            Self::Developer | Self::Billing | Self::ReadOnly => false,
        }
    }
}

/// What routes of the account API ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    Read,
    ManageKeys,
    ManageTickets,
    ManageBilling,
    ManageMembers,
    /// Profile, sign-in, privacy: what concerns the person.
    ManageAccount,
}

impl Permission {
    /// How a refusal calls it.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Read => "look at this account",
            Self::ManageKeys => "manage keys",
            Self::ManageTickets => "write tickets",
            Self::ManageBilling => "manage billing",
            Self::ManageMembers => "manage members",
            Self::ManageAccount => "manage the account itself",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Permission::*, Role};

    #[test]
    fn roles_and_what_they_may() {
        let all = [Read, ManageKeys, ManageTickets, ManageBilling, ManageMembers, ManageAccount];
        let may = |role: Role| all.into_iter().filter(|permission| role.may(*permission)).collect::<Vec<_>>();
        assert_eq!(may(Role::ReadOnly), [Read]);
        assert_eq!(may(Role::Billing), [Read, ManageTickets, ManageBilling]);
        assert_eq!(may(Role::Developer), [Read, ManageKeys, ManageTickets]);
        assert_eq!(may(Role::Admin), [Read, ManageKeys, ManageTickets, ManageBilling, ManageMembers]);
        assert_eq!(may(Role::Owner), all);
    }

    #[test]
    fn who_moves_whom() {
        let ends = [None, Some(Role::ReadOnly), Some(Role::Billing), Some(Role::Developer), Some(Role::Admin), Some(Role::Owner)];
        for from in ends {
            for to in ends {
                let touches = |role| from == Some(role) || to == Some(role);
                assert_eq!(Role::Owner.may_move(from, to), !touches(Role::Owner), "{from:?} {to:?}");
                assert_eq!(Role::Admin.may_move(from, to), !touches(Role::Owner) && !touches(Role::Admin), "{from:?} {to:?}");
                for role in [Role::Developer, Role::Billing, Role::ReadOnly] {
                    assert!(!role.may_move(from, to), "{from:?} {to:?}");
                }
            }
        }
    }
}
