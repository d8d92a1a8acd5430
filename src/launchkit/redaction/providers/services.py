"""Tokens of services that watch an app, and of those that people work with."""

from __future__ import annotations

from typing import Final

from launchkit.redaction.providers.form import (
    END,
    UUID,
    TokenForm,
    alphanumeric,
    base64,
    dotted,
    exactly,
    url_safe,
)

SERVICE_FORMS: Final[tuple[TokenForm, ...]] = (
    # monitoring and analytics
    TokenForm("sentry-token", ("sntrys_",), r"[A-Za-z0-9+/_=-]{30,}+"),
    TokenForm("sentry-token", ("sntryu_", "sntrya_", "sntryi_"), alphanumeric(40)),
    TokenForm("grafana-key", ("eyJrIjoi", "glc_"), base64(30)),
    TokenForm("grafana-token", ("glsa_",), r"[A-Za-z0-9]{20,}+(?:_[0-9A-Fa-f]++)?+"),
    TokenForm("new-relic-key", ("NRAK-", "NRII-", "NRAA-", "NRIQ-", "NRRA-", "NRSP-"), r"[A-Za-z0-9_-]{20,}+"),
    TokenForm("new-relic-key", ("NRJS-",), alphanumeric(16)),
    TokenForm("datadog-token", ("ddpat_",), url_safe(20), needs_digit=True),
    TokenForm("dynatrace-token", ("dt0",), r"[a-z][0-9]{2}\.[A-Za-z0-9-]{8,30}+\.[A-Za-z0-9]{40,}+"),
    TokenForm("honeycomb-key", ("hcaik_", "hcbik_", "hcxik_", "hcamk_"), alphanumeric(24)),
    TokenForm("posthog-key", ("phx_", "phs_"), url_safe(30), needs_digit=True),
    TokenForm("axiom-token", ("xaat-", "xapt-"), UUID),
    TokenForm("rootly-key", ("rootly_",), alphanumeric(40)),
    TokenForm("checkly-key", ("cu_",), exactly("0-9a-f", 32)),
    TokenForm("prefect-key", ("pnu_", "pnb_"), alphanumeric(30)),
    TokenForm("dbt-token", ("dbtc_", "dbtu_"), base64(30), needs_digit=True),
    TokenForm("trigger-key", ("tr_dev_", "tr_prod_", "tr_stg_", "tr_pat_"), alphanumeric(16)),
    TokenForm("inngest-key", ("signkey-prod-", "signkey-test-", "signkey-branch-"), alphanumeric(32)),
    TokenForm("retool-key", ("retool_01",), alphanumeric(20)),
    TokenForm("n8n-key", ("n8n_api_",), alphanumeric(40)),
    TokenForm(
        "workato-token", ("wrka-eyJ", "wrkaus-eyJ", "wrkaeu-eyJ", "wrkajp-eyJ", "wrkasg-eyJ", "wrkaau-eyJ"), dotted(8)
    ),
    TokenForm("jwt", ("ZXlK",), base64(40)),  # RFC 7519, once more in base64
    # interfaces and their keys
    TokenForm("postman-key", ("PMAK-",), r"[0-9a-zA-Z]{20,}+(?:-[0-9a-zA-Z]{20,}+)?+"),
    TokenForm("postman-token", ("PMAT-",), alphanumeric(20)),
    TokenForm("readme-key", ("rdme_",), alphanumeric(40)),
    TokenForm("gitbook-token", ("gb_api_",), alphanumeric(30)),
    TokenForm("unkey-key", ("unkey_",), alphanumeric(20), needs_digit=True),
    TokenForm("zuplo-key", ("zpka_",), r"[a-z0-9]{20,}+(?:_[0-9a-f]++)?+"),
    TokenForm("kong-token", ("kpat_", "spat_"), alphanumeric(40)),
    TokenForm("arcjet-key", ("ajkey_",), alphanumeric(20)),
    TokenForm("permit-key", ("permit_key_",), alphanumeric(40)),
    TokenForm("dynamic-token", ("dyn_",), alphanumeric(40)),
    TokenForm("databento-key", ("db-",), exactly("A-Za-z0-9", 29), needs_digit=True),
    TokenForm("dub-key", ("dub_",), exactly("A-Za-z0-9", 24), needs_digit=True),
    # work
    TokenForm("notion-token", ("ntn_",), alphanumeric(30)),
    TokenForm("notion-token", ("secret_",), r"(?:[a-z]{4,6}_)?+[A-Za-z0-9]{36,}+(?:\.[A-Za-z0-9]{20,}+)?+"),
    TokenForm("linear-token", ("lin_api_", "lin_oauth_", "lin_wh_"), alphanumeric(30)),
    TokenForm(
        "figma-token", ("figd_", "figdh_", "figo_", "figoh_", "figu_", "figuh_", "figor_", "figorh_"), url_safe(30)
    ),
    TokenForm("typeform-token", ("tfp_",), r"[A-Za-z0-9_.=-]{30,}+"),
    TokenForm("tally-key", ("tly-",), alphanumeric(30)),
    TokenForm("cal-key", ("cal_", "cal_live_"), exactly("0-9a-f", 32)),
    TokenForm("savvycal-token", ("pt_secret_",), alphanumeric(20)),
    TokenForm("contentful-token", ("CFPAT-",), url_safe(30)),
    TokenForm("imagekit-key", ("private_",), r"[A-Za-z0-9+/]{27}="),
    TokenForm("builder-key", ("bpk-",), exactly("0-9a-f", 32)),
    TokenForm("frameio-token", ("fio-u-",), url_safe(40)),
    TokenForm("dropbox-token", ("sl.", "sl.u."), url_safe(60), needs_digit=True),
    TokenForm("hubspot-token", ("pat-na1-", "pat-na2-", "pat-na3-", "pat-eu1-", "pat-ap1-"), UUID),
    TokenForm("close-key", ("api_",), rf"[A-Za-z0-9]{{18,26}}\.[A-Za-z0-9]{{18,26}}{END}", needs_digit=True),
    TokenForm("weblate-token", ("wlu_", "wlp_"), alphanumeric(30)),
    TokenForm("canva-secret", ("cnvca",), url_safe(40)),
    TokenForm("adobe-client-secret", ("p8e-",), url_safe(28)),
    TokenForm("miro-token", ("eyJtaXJv",), r"[A-Za-z0-9_-]{30,}+"),
    TokenForm("samsara-token", ("samsara_api_",), alphanumeric(20)),
    TokenForm("intra42-secret", ("s-s4t2ud-", "s-s4t2af-"), alphanumeric(40)),
    TokenForm("ubidots-token", ("BBFF-", "BBUS-"), alphanumeric(28)),
    TokenForm("wakatime-key", ("waka_",), r"[A-Za-z0-9-]{30,}+", needs_digit=True),
    TokenForm("adafruit-key", ("aio_",), exactly("A-Za-z0-9", 28), needs_digit=True),
    # maps
    TokenForm("mapbox-token", ("sk.eyJ", "tk.eyJ"), r"[A-Za-z0-9_-]{20,}+\.[A-Za-z0-9_-]{16,}+"),
    TokenForm("sanity-token", ("sk",), alphanumeric(80), needs_digit=True),
)
