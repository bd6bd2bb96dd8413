//! What a write does to the record.

use vault_core::decide::{AfterSuccess, MAX_ALTERNATES};
use vault_core::store::ConnectionStatus;

use crate::provider::Token;
use crate::rules::Rules;
use crate::state::{Record, Spent};

impl Record {
    /// Step 9.
    pub(crate) fn take(&mut self, rules: &Rules, spent: &Spent, token: Token, decision: AfterSuccess) {
        let theirs = self.current;
        self.status = ConnectionStatus::Active;
        if decision == AfterSuccess::Alternate {
            return self.keep_alternate(token);
        }
        self.current = token;
        if decision == AfterSuccess::Replace {
            self.keep_alternate(theirs);
            self.promotions += 1;
        } else {
            self.doubt = (rules.in_doubt)(&spent.decided(), &self.stored());
            self.parent = Some(spent.generation);
            self.alternates.clear();
            self.generation += 1;
            self.promotions = 0;
            self.attempt = None;
        }
        self.token_fence = spent.fence;
        self.max_fence = self.max_fence.max(spent.fence);
        self.obtained_by = Some(spent.attempt);
    }

    fn keep_alternate(&mut self, token: Token) {
        if self.tokens().any(|known| known == token) {
            return;
        }
        if self.alternates.len() == MAX_ALTERNATES {
            self.alternates.remove(0);
        }
        self.alternates.push(token);
    }
}
