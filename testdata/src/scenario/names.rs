//! What services, operations and versions are called.

use super::Variant;
use super::fleet::Service;

/// Names that a sender chooses freely.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    services: [String; Service::ALL.len()],
    /// The server operation with the symptom.
    pub(crate) checkout: String,
    pub(crate) checkout_route: String,
    /// A cheap operation of the same service.
    pub(crate) status: String,
    pub(crate) status_route: String,
    pub(crate) order_query: String,
    pub(crate) inventory_check: String,
    pub(crate) payment_call: String,
    pub(crate) serialise_response: String,
    pub(crate) auth_check: String,
    /// Inventory's operation.
    pub(crate) inventory: String,
    pub(crate) inventory_route: String,
    pub(crate) version_old: String,
    pub(crate) version_new: String,
}

impl Names {
    pub(crate) fn of(variant: Variant) -> Self {
        if variant == Variant::HostileNames { Self::hostile() } else { Self::plain() }
    }

    pub(crate) fn service(&self, service: Service) -> &str {
        &self.services[service as usize]
    }

    fn plain() -> Self {
        Self {
            services: Service::ALL.map(|service| service.slug().to_owned()),
            checkout: "POST /checkout".to_owned(),
            checkout_route: "/checkout".to_owned(),
            status: "GET /orders/{id}/status".to_owned(),
            status_route: "/orders/{id}/status".to_owned(),
            order_query: "order_query".to_owned(),
            inventory_check: "inventory_check".to_owned(),
            payment_call: "payment_call".to_owned(),
            serialise_response: "serialise_response".to_owned(),
            auth_check: "auth_check".to_owned(),
            inventory: "GET /inventory/items".to_owned(),
            inventory_route: "/inventory/items".to_owned(),
            version_old: "2.3.7".to_owned(),
            version_new: "2.4.0".to_owned(),
        }
    }

    /// Anyone who can send a span chooses these. Each kind of syntax is in a name that reaches the
    /// verdict: the service with the symptom, the guilty one, its version, the operations.
    fn hostile() -> Self {
        let checkout_route = "/checkout'; DROP TABLE spans; --\u{1b}]0;owned\u{7}";
        let inventory_route = "/inventory\"\r\n/$(touch upriver-hostile)/`id`/%s{{ 7 * 7 }}";
        let status_route = "/orders/{id}\t\u{9b}2J/status' OR '1'='1";
        let services = Service::ALL.map(|service| match service {
            Service::Checkout => "check\"out\n# owned\u{1b}[31m | '$(id)' \\".to_owned(),
            Service::Inventory => {
                "inventory'); DELETE FROM spans; --\u{1b}[2J@<script>alert(1)</script>".to_owned()
            }
            Service::Payment => "pay`touch upriver-hostile`ment; rm -rf ./x && true".to_owned(),
            Service::Auth => "auth*_~[a](javascript:alert(1))\u{0}\u{7f}".to_owned(),
            Service::Search => "--help".to_owned(),
            Service::Recommendation => "../../../etc/passwd".to_owned(),
            Service::Frontend => "front{end=\"1\",}\r".to_owned(),
        });
        Self {
            services,
            checkout: format!("POST {checkout_route}"),
            checkout_route: checkout_route.to_owned(),
            status: format!("GET {status_route}"),
            status_route: status_route.to_owned(),
            order_query: "order_query\"; SELECT 1; /*".to_owned(),
            inventory_check: "inventory_check\n```\n<img src=x onerror=alert(1)>".to_owned(),
            payment_call: "payment_call | | \\' ${HOME}".to_owned(),
            serialise_response: "serialise_response\u{1b}[1A\u{1b}[2K\u{8}".to_owned(),
            auth_check: "auth_check %00 $now {{ growth }} : - !!x &a *a".to_owned(),
            inventory: format!("GET {inventory_route}"),
            inventory_route: inventory_route.to_owned(),
            version_old: "2.3.7' OR ''='".to_owned(),
            version_new: "2.4.0\"; $(reboot) `id`\n--force \u{1b}[8m".to_owned(),
        }
    }
}
