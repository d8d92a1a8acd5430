"""The table of providers' tokens: what it takes whole, what it leaves alone, and how long it takes.

No token is written down here: each is filled in when the test runs, from the alphabet and the length that its provider
uses. `{a36}` stands for 36 letters and digits; the other alphabets are in `ALPHABETS`.
"""

from __future__ import annotations

import re
import string
import time
from collections.abc import Iterator
from functools import cache
from random import Random

import pytest

from launchkit.redaction.providers import SHAPED_FORMS, TOKEN_FORMS, ShapedForm, TokenForm

ALPHABETS = {
    "d": string.digits,
    "h": string.digits + "abcdef",
    "l": string.digits + string.ascii_lowercase,
    "u": string.digits + string.ascii_uppercase,
    "a": string.digits + string.ascii_letters,
    "w": string.digits + string.ascii_letters + "_-",
    "b": string.digits + string.ascii_letters + "+/",
}

UUID = "{h8}-{h4}-{h4}-{h4}-{h12}"

REAL = {
    "1password-secret-key": ("A3-{u6}-{u6}-{u5}-{u5}-{u5}-{u5}",),
    "1password-token": ("ops_eyJ{b300}",),
    "age-secret-key": ("AGE-SECRET-KEY-1{u58}",),
    "airtable-token": ("pat{a14}.{h64}",),
    "aiven-password": ("AVNS_{w19}",),
    "alibaba-key": ("LTAI{a20}",),
    "anthropic-key": ("sk-ant-api03-{w93}AA", "sk-ant-admin01-{w93}AA", "sk-ant-oat01-{w93}AA"),
    "apify-token": ("apify_api_{a36}",),
    "artifactory-key": ("AKCp{a69}",),
    "artifactory-token": ("cmVmd{a59}",),
    "asana-token": ("1/{d16}:{h32}".replace("{d16}", "1{d15}"), "2/1{d15}/1{d15}:{h32}"),
    "atlassian-token": ("ATATT3{w186}", "ATCTT3{w186}={u8}"),
    "aws-access-key-id": ("AKIA{u16}", "ASIA{u16}"),
    "aws-bedrock-key": ("ABSK{b128}",),
    "azure-client-secret": ("{a3}8Q~{w34}",),
    "azure-cosmos-key": ("{a76}ACDb{a5}A==",),
    "azure-service-key": ("{a52}JQQJ99{a26}",),
    "azure-storage-key": ("{a76}+ASt{a5}A==",),
    "braintree-token": ("access_token$production${l16}${h32}",),
    "brevo-key": ("xkeysib-{h64}-{a16}", "xsmtpsib-{h64}-{a16}"),
    "buildkite-token": ("bkua_{l40}",),
    "circleci-token": ("CCIPAT_{a22}_{h40}",),
    "clickhouse-key": ("4b1d{a38}",),
    "clickup-token": ("pk_{d8}_{u32}",),
    "cloudflare-origin-key": ("v1.0-{h24}-{h146}",),
    "contentful-token": ("CFPAT-{w43}",),
    "crates-token": ("cio{a32}",),
    "databricks-token": ("dapi{h32}", "dapi{h32}-2"),
    "digitalocean-token": ("dop_v1_{h64}", "doo_v1_{h64}", "dor_v1_{h64}"),
    "discord-bot-token": ("M{a23}.{w6}.{w27}", "N{a25}.{w6}.{w38}"),
    "docker-token": ("dckr_pat_{w27}", "dckr_oat_{w32}"),
    "doppler-token": ("dp.pt.{a43}", "dp.st.dev_main.{a43}"),
    "dropbox-token": ("sl.{w138}", "sl.u.{w138}"),
    "dynatrace-token": ("dt0c01.{u24}.{u64}",),
    "easypost-key": ("EZAK{a54}", "EZTK{a54}"),
    "facebook-token": ("EAAC{a150}",),
    "figma-token": ("figd_{w40}",),
    "fly-token": ("FlyV1 fm2_{b200}", "fm2_{b200},fm2_{b100}", "fo1_{w43}"),
    "github-token": (
        "ghp_{a36}",
        "gho_{a36}",
        "ghs_{a36}",
        "github_pat_{a22}_{a59}",
        "ghs_{d7}_eyJ{w80}.eyJ{w200}.{w300}",
    ),
    "gitlab-token": (
        "glpat-{w20}",
        "glpat-{w27}.{l2}.{l9}",
        "glrt-t1_{w27}.{l2}{l7}",
        "GR1348941{w20}",
        "glcbt-64_{w20}",
    ),
    "google-api-key": ("AIza{w35}",),
    "google-oauth-secret": ("GOCSPX-{w28}",),
    "google-oauth-token": ("ya29.{w120}", "ya29.c.{w120}"),
    "grafana-key": ("glc_{b80}",),
    "grafana-token": ("glsa_{a32}_{h8}",),
    "groq-key": ("gsk_{a52}",),
    "harness-token": ("pat.{w22}.{h24}.{a20}",),
    "heroku-key": ("HRKU-AA{w58}",),
    "hubspot-token": (f"pat-na1-{UUID}",),
    "hugging-face-token": ("hf_{a34}", "api_org_{a34}"),
    "langfuse-secret-key": (f"sk-lf-{UUID}",),
    "langsmith-key": ("lsv2_pt_{h32}_{h10}",),
    "launchdarkly-key": (f"sdk-{UUID}",),
    "linear-token": ("lin_api_{a40}",),
    "live-key": ("live_{a30}", "live_{w40}", "live_{h35}", "live_{d9}_{a30}"),
    "llama-cloud-key": ("llx-{a48}",),
    "mailchimp-key": ("{h32}-us7", "{h32}-us20"),
    "mailersend-token": ("mlsn.{h64}",),
    "mailgun-key": ("key-{h32}",),
    "mapbox-token": ("sk.eyJ{w60}.{w22}",),
    "maxmind-key": ("{a6}_{a29}_mmk",),
    "mongodb-atlas-secret": ("mdb_sa_sk_{w40}",),
    "neon-key": ("napi_{l64}",),
    "neon-password": ("npg_{a12}",),
    "netlify-token": ("nfp_{a36}",),
    "new-relic-key": ("NRAK-{u27}", "NRII-{w32}", "NRJS-{h19}"),
    "new-relic-license-key": ("{h36}NRAL",),
    "notion-token": ("ntn_{d11}{a35}", "secret_{a43}"),
    "npm-token": ("npm_{a36}",),
    "nuget-key": ("oy2{l43}",),
    "nvidia-key": ("nvapi-{w64}",),
    "openai-key": ("sk-proj-{w74}T3BlbkFJ{w74}", "sk-{a20}T3BlbkFJ{a20}", "sk-{h32}", "sk-svcacct-{w60}", "sk-{w22}"),
    "openrouter-key": ("sk-or-v1-{h64}",),
    "perplexity-key": ("pplx-{a48}",),
    "pinecone-key": ("pcsk_{a6}_{a63}",),
    "plaid-token": (f"access-sandbox-{UUID}",),
    "planetscale-token": ("pscale_tkn_{w43}", "pscale_pw_{w43}"),
    "posthog-key": ("phx_{a43}",),
    "postman-key": ("PMAK-{h24}-{h34}",),
    "pulumi-token": ("pul-{h40}",),
    "pypi-token": ("pypi-AgEIcHlwaS5vcmc{w160}",),
    "rapidapi-key": ("{h10}msh{h15}p1{h6}jsn{h12}",),
    "razorpay-key": ("rzp_live_{a14}",),
    "replicate-token": ("r8_{a37}",),
    "resend-key": ("re_{a8}_{a24}",),
    "rubygems-key": ("rubygems_{h48}",),
    "salesforce-token": ("00D{a12}!{a96}",),
    "secret-key": ("sk_{h48}", f"sk_{UUID}"),
    "sendgrid-key": ("SG.{w22}.{w43}",),
    "sentry-token": ("sntrys_eyJ{b150}_{b43}", "sntryu_{h64}"),
    "shopify-token": ("shpat_{h32}", "shpss_{h32}"),
    "slack-token": (
        "xoxb-{d12}-{d13}-{a24}",
        "xoxp-{d12}-{d12}-{d12}-{h32}",
        "xapp-1-A{u10}-{d13}-{h64}",
        "xoxe.xoxp-1-{u166}",
    ),
    "slack-cookie": ("xoxd-{b120}%3D%3D",),
    "sourcegraph-token": ("sgp_{h40}", "sgp_{h16}_{h40}"),
    "square-token": ("sq0atp-{w22}", "sq0csp-{w43}", "EAAAE{w59}"),
    "stripe-client-secret": ("pi_{a24}_secret_{a25}",),
    "stripe-restricted-key": ("rk_live_51{a97}",),
    "stripe-secret-key": ("sk_live_{a24}", "sk_test_51{a99}"),
    "stripe-webhook-secret": ("whsec_{a32}", "whsec_{b44}="),
    "supabase-key": ("sb_secret_{w31}",),
    "supabase-token": ("sbp_{h40}",),
    "tailscale-key": ("tskey-auth-{a12}CNTRL-{a32}", "tskey-api-{a12}CNTRL-{a32}"),
    "tavily-key": ("tvly-{a32}", "tvly-dev-{a32}"),
    "telegram-bot-token": ("{d9}:AA{w33}".replace("{d9}", "7{d9}"), "bot7{d8}:AA{w33}"),
    "terraform-token": ("{a14}.atlasv1.{w67}",),
    "together-key": ("tgp_v1_{w43}",),
    "twilio-key": ("SK{h32}",),
    "typeform-token": ("tfp_{w44}_{w14}",),
    "vault-token": ("hvs.{w95}", "hvb.{w150}", "s.{a24}"),
    "vercel-token": ("vcp_{a56}",),
    "voyage-key": ("pa-{w43}",),
    "xai-key": ("xai-{a80}",),
    "yandex-key": ("AQVN{w36}",),
}
"""Tokens as the providers make them, by the rule that must take them whole."""

HARMLESS = (
    # what providers mean to be public, and the ids of things
    "pk_live_{a24}",
    "pk_test_{a36}",
    "pk-lf-" + UUID,
    "sb_publishable_{w31}",
    "phc_{a43}",
    "price_{a24}",
    "prod_{a14}",
    "acct_{a16}",
    "cus_{a14}",
    "evt_{a24}",
    "pi_{a24}",
    "ch_{a24}",
    "cs_live_{a58}",
    "req_{a14}",
    "msg_{a24}",
    "in_{a24}",
    # what machines count and name
    UUID,
    "request_id=" + UUID,
    "sha256:{h64}",
    "{h40}",
    "{h32}",
    "{h64}.js",
    "00-{h32}-{h16}-01",
    "1-{h8}-{h24}",
    "web-7d9f8b6c5-x2x4z",
    "api-gateway-{h10}-{l5}",
    "registry.example.com/team/app@sha256:{h64}",
    "s3://bucket-name/exports/2024/05/part-00001-{h8}.snappy.parquet",
    "arn:aws:iam::{d12}:role/{a20}",
    "etag W/{h32}",
    "task-{h24}",
    "disk-by-id-{h24}",
    "pod/web-{h9}-{l5} 10.0.{d2}.7:8080",
    # what people name
    "re_compile_pattern2",
    "re_export_settings_for_customers_2024",
    "sk_learn_pipeline",
    "sk_learn_gradient_boosting_classifier_v2",
    "sk-folding-cube-2-container-wide-screen-3",
    "pa-component-with-a-rather-long-class-name-2-and-more-words",
    "live_reload_server_started_on_port_8000",
    "test_customers_can_pay_twice_in_2024",
    "secret_santa_list",
    "api_client.exceptions.handler_2",
    "key_value_store_2",
    "pypi-mirror-of-the-company-in-frankfurt-2024-weekly",
    "pplx-70b-online",
    "hf_transformers_cache",
    "npm_config_user_agent",
    "pat-na1",
    "path.resolve.alias",
    "glrt-runner",
    "tests.redaction.test_engine",
    "feature/sk-1234-new-login-page",
    "SKIPPED SKU12345 KEYCLOAK_REALM_2",
    "AKIA is what such ids begin with",
    "live_20240511",
)
"""Texts without a secret, some of which begin as tokens do."""


def fill(template: str, random: Random) -> str:
    """Return a token that has digits, small letters and capitals wherever its alphabet has them."""

    def characters(match: re.Match[str]) -> str:
        alphabet, length = ALPHABETS[match[1]], int(match[2])
        some = [random.choice(alphabet) for _ in range(length)]
        if length >= 12:  # long enough that no real one would do without
            some[1:7] = random.choices(string.digits, k=2) + [
                random.choice([c for c in alphabet if c in kind] or alphabet) for kind in KINDS
            ]
        if match[1] in "wb" and some[0] + some[-1] != "".join(filter(str.isalnum, some[0] + some[-1])):
            some[0], some[-1] = random.choices(string.ascii_uppercase, k=2)
        return "".join(some)

    return re.sub(r"\{([a-z])(\d+)\}", characters, template)


KINDS = (string.ascii_uppercase, string.ascii_lowercase, string.ascii_uppercase, string.ascii_lowercase)


@cache
def patterns() -> tuple[tuple[TokenForm | ShapedForm, str, re.Pattern[str]], ...]:
    """Return the forms as an engine uses them: each with a text that starts it, and nothing of a word before it."""
    tokens = [
        (form, prefix, re.compile(rf"{re.escape(prefix)}(?<![A-Za-z0-9]{re.escape(prefix)})(?:{form.body})"))
        for form in TOKEN_FORMS
        for prefix in form.prefixes
    ]
    shaped = [(form, form.trigger, re.compile(rf"(?<![A-Za-z0-9])(?:{form.pattern})")) for form in SHAPED_FORMS]
    return (*tokens, *shaped)


def found(text: str) -> Iterator[tuple[str, str]]:
    """Yield the rule and the text of each token."""
    for form, trigger, pattern in patterns():
        if trigger in text:
            for match in pattern.finditer(text):
                if not form.needs_digit or re.search("[0-9]", match[0]):
                    yield form.rule, match[0]


@pytest.mark.parametrize("rule", REAL)
def test_real_tokens_are_taken_whole(rule: str):
    """Nothing of a token is left over, in whatever it stands."""
    random = Random(rule)
    for template in REAL[rule]:
        for _ in range(10):
            token = fill(template, random)
            for text in (
                token,
                f"key={token}",
                f'{{"k": "{token}"}}',
                f"https://example.com/?k={token}&x=1",
                f"({token})",
            ):
                assert (rule, token) in set(found(text)), (template, text)


def test_harmless_texts_are_left_alone():
    """Public keys, ids, hashes, identifiers and paths, also those that begin as tokens do."""
    random = Random(7)
    for template in HARMLESS:
        for _ in range(20):
            text = fill(template, random)
            assert list(found(text)) == [], text


def test_a_prefix_is_not_enough():
    """In a sentence, before an ellipsis, before a placeholder, it is a word like others."""
    for prefix in sorted({prefix for form in TOKEN_FORMS for prefix in form.prefixes}):
        for text in (f"begins with {prefix}.", f"{prefix}...", f"{prefix}<token>", f"{prefix}xxx", f"{prefix}test"):
            assert list(found(text)) == [], text


def test_rules_have_ids_that_fit_a_marker():
    """Small letters, digits and dashes."""
    for form in (*TOKEN_FORMS, *SHAPED_FORMS):
        assert re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)*", form.rule)


def test_no_two_forms_have_the_same_prefix():
    """A beginning belongs to one rule."""
    prefixes = [prefix for form in TOKEN_FORMS for prefix in form.prefixes]
    assert len(prefixes) == len(set(prefixes))
    assert all(len(prefix) >= 2 for prefix in prefixes)


def test_the_longer_of_two_prefixes_comes_first():
    """So that a key of Anthropic's is not called one of OpenAI's."""
    places = [(place, prefix) for place, form in enumerate(TOKEN_FORMS) for prefix in form.prefixes]
    for place, prefix in places:
        for other_place, other in places:
            assert not (other_place > place and other.startswith(prefix)), (prefix, other)


def test_forms_have_no_groups_of_their_own():
    """They become parts of a larger expression."""
    for form in TOKEN_FORMS:
        assert re.compile(form.body).groups == 0, form.rule
    for shaped in SHAPED_FORMS:
        assert re.compile(shaped.pattern).groups == 0, shaped.rule


def test_the_table_covers_what_people_use():
    """The kinds of the public scanners that have a form of their own."""
    assert len({form.rule for form in (*TOKEN_FORMS, *SHAPED_FORMS)}) >= 250


@pytest.mark.parametrize("alphabet", ["aB3_-", "0f", "a.b-"])
def test_forms_take_linear_time(alphabet: str):
    """Prefixes, runs after them, and tokens cut short are read once: 100 kB take some milliseconds."""
    size = 50_000
    for form, lead, pattern in patterns():
        run = (alphabet * 60)[:60]
        for unit in (lead, f"{lead}{run[:14]}-", f"{lead}{run}/", f"{lead[-2:]}{run[:25]}!"):
            hostile = lead + unit * (size // len(unit)) + alphabet * (size // len(alphabet))
            assert is_quick(pattern, hostile), (form.rule, unit)


def is_quick(pattern: re.Pattern[str], text: str) -> bool:
    """Tell whether the processor reads a text in 0.1 s; other processes only ever add to that, so it may try again."""
    for _ in range(5):
        begun = time.process_time()
        for _ in pattern.finditer(text):
            pass
        if time.process_time() - begun < 0.1:
            return True
    return False
