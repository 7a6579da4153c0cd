//! The diagnosis of the checkout incident and its variants, from the bytes that senders would send.

mod checkout;
mod incident;
