"""Tokens of services for payments, banking and shops."""

from __future__ import annotations

from typing import Final

from launchkit.redaction.providers.form import (
    AFTER_WORDS,
    MIXED,
    NO_WORD,
    UUID,
    TokenForm,
    alphanumeric,
    base64,
    exactly,
    url_safe,
)

PAYMENT_FORMS: Final[tuple[TokenForm, ...]] = (
    TokenForm("workos-key", ("sk_live_a2V5", "sk_test_a2V5"), base64(20)),  # Highnote too
    TokenForm(  # Clerk, Paystack and Magic too
        "stripe-secret-key",
        ("sk_live_", "sk_test_", "sk_org_live_", "sk_org_test_"),
        r"[A-Za-z0-9]{10,}+[A-Za-z0-9_]*+",
    ),
    TokenForm("stripe-restricted-key", ("rk_live_", "rk_test_", "rk_prod_"), r"[A-Za-z0-9]{10,}+[A-Za-z0-9_]*+"),
    TokenForm("stripe-ephemeral-key", ("ek_live_", "ek_test_"), base64(20)),
    TokenForm("stripe-webhook-secret", ("whsec_",), base64(16)),  # Clerk, Svix and others too
    TokenForm("liveblocks-key", ("sk_prod_", "sk_dev_"), NO_WORD + url_safe(10), needs_digit=True),  # Fillout too
    TokenForm("crossmint-key", ("sk_production_", "sk_staging_"), alphanumeric(40)),
    TokenForm("checkout-key", ("sk_sbox_",), alphanumeric(20)),
    # ElevenLabs, Checkout.com, Freemius, HeyGen and others
    TokenForm("secret-key", ("sk_",), rf"(?:{NO_WORD}{url_safe(26)}|{AFTER_WORDS})", needs_digit=True),
    TokenForm("square-token", ("sq0atp-", "sq0csp-", "sq0csb-", "sq0atb-"), url_safe(20)),
    TokenForm("square-token", ("EAAA",), r"(?!AA)" + MIXED + url_safe(22)),
    TokenForm(
        "braintree-token",
        ("access_token$production$", "access_token$sandbox$"),
        r"[0-9a-z]{10,}+\$[0-9a-f]{20,}+",
    ),
    TokenForm("adyen-key", ("AQE",), r"[A-Za-z0-9]hm[A-Za-z0-9+/=]{20,}+-[!#-&(-;=-\[\]-~]{20,}+", needs_digit=True),
    TokenForm("razorpay-key", ("rzp_live_", "rzp_test_"), alphanumeric(12)),
    TokenForm("flutterwave-key", ("FLWSECK-", "FLWSECK_TEST-"), r"[A-Za-z0-9]{10,}+(?:-X)?+"),
    TokenForm("plaid-token", ("access-sandbox-", "access-development-", "access-production-"), UUID),
    TokenForm("paddle-key", ("pdl_live_", "pdl_sdbx_", "pdl_ntfset_"), url_safe(30), needs_digit=True),
    # GoCardless, Mollie, Lob, MessageBird, Chargebee, and Twitch's stream keys; not the end of pk_live_
    TokenForm("live-key", ("live_",), r"(?<!_live_)" + NO_WORD + url_safe(25), needs_digit=True),
    TokenForm("gocardless-sandbox-token", ("sandbox_",), NO_WORD + url_safe(40), needs_digit=True),
    TokenForm("shopify-token", ("shpat_", "shpca_", "shppa_", "shpss_", "shpua_", "shprt_"), alphanumeric(24)),
    TokenForm("shopify-partner-token", ("prtapi_", "atkn_2."), alphanumeric(24)),
    TokenForm("woocommerce-key", ("ck_", "cs_"), exactly("0-9a-f", 40)),
    TokenForm("xendit-key", ("xnd_production_", "xnd_development_"), alphanumeric(30)),
    TokenForm("midtrans-key", ("Mid-server-",), url_safe(10)),
    TokenForm("asaas-key", ("$aact_",), url_safe(20)),
    TokenForm("mercury-token", ("mercury_production_", "mercury_sandbox_"), url_safe(30)),
    TokenForm("mercado-pago-token", ("APP_USR-", "TEST-"), r"[0-9]{10,}+-[0-9]{6}-[0-9a-f]{32}(?:-[0-9]++)?+"),
    TokenForm("polar-token", ("polar_at_", "polar_oat_", "polar_pat_", "polar_rt_", "polar_whs_"), url_safe(20)),
    TokenForm("ramp-client-secret", ("ramp_sec_",), alphanumeric(30)),
    TokenForm("revolut-token", ("oa_prod_", "oa_sand_"), url_safe(30)),
    TokenForm("klarna-key", ("klarna_live_api_", "klarna_test_api_"), base64(20)),
    TokenForm("brex-token", ("bxt_",), alphanumeric(20)),
    TokenForm("onfido-token", ("api_live.", "api_live_us.", "api_live_ca.", "api_sandbox."), url_safe(20)),
    TokenForm("persona-key", ("persona_production_", "persona_sandbox_"), url_safe(20), needs_digit=True),
    TokenForm("rainforest-key", ("apikey_",), exactly("0-9a-f", 64)),
    TokenForm("shippo-token", ("shippo_live_", "shippo_test_"), alphanumeric(30)),
    TokenForm("easypost-key", ("EZAK", "EZTK"), alphanumeric(40)),
    TokenForm("duffel-token", ("duffel_live_", "duffel_test_"), url_safe(30)),
    TokenForm("tinkoff-token", ("t.",), r"[A-Za-z0-9_-]{86}(?![A-Za-z0-9_-])"),
    TokenForm("alchemy-token", ("alcht_",), alphanumeric(20)),
    TokenForm("quicknode-key", ("QN_",), exactly("0-9a-f", 32)),
    TokenForm("proof-key", ("prf_cli_", "prf_"), NO_WORD + url_safe(20), needs_digit=True),
    TokenForm("ebay-client-secret", ("PRD-",), r"[0-9a-f]{8,12}(?:-[0-9a-f]{4,12}){4}(?![A-Za-z0-9])"),
    TokenForm("bitcoin-private-key", ("xprv",), alphanumeric(80)),
    TokenForm("nostr-private-key", ("nsec1",), exactly("a-z0-9", 58)),
)
