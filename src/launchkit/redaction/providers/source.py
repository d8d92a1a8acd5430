"""Tokens of services that host source, build it, check it, and publish packages."""

from __future__ import annotations

from typing import Final

from launchkit.redaction.providers.form import (
    CLOSED_END,
    END,
    NO_WORD,
    UUID,
    TokenForm,
    alphanumeric,
    base64,
    dotted,
    exactly,
    url_safe,
)

SOURCE_FORMS: Final[tuple[TokenForm, ...]] = (
    TokenForm(  # ghs_ also as number_JWT
        "github-token",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
        r"(?:[A-Za-z0-9]{20,}+|[0-9]{1,12}+_eyJ[A-Za-z0-9_-]{10,}+(?:\.[A-Za-z0-9_-]++)*+)",
    ),
    TokenForm("github-token", ("github_pat_",), r"[A-Za-z0-9_]{20,}+"),
    TokenForm(
        "gitlab-token",
        (
            *("glpat-", "gldt-", "glrt-", "glrtr-", "glptt-", "glft-", "glimt-", "glagent-", "gloas-", "glsoat-"),
            *("glcbt-", "glffct-", "glwt-", "GR1348941"),
        ),
        dotted(20),
    ),
    TokenForm("gitlab-mail-token", ("incoming+",), r"[A-Za-z0-9._-]{20,}+(?=@)", needs_digit=True),
    TokenForm("bitbucket-token", ("ATBB",), alphanumeric(24), needs_digit=True),
    TokenForm("bitbucket-token", ("BBDC-",), base64(30)),
    TokenForm("atlassian-token", ("ATAT", "ATCTT3"), r"[A-Za-z0-9_=-]{40,}+", needs_digit=True),
    TokenForm("trello-token", ("ATTA",), alphanumeric(60)),
    TokenForm("youtrack-token", ("perm:", "perm-"), r"[A-Za-z0-9+/=]{2,}+\.[A-Za-z0-9+/=]{2,}+\.[A-Za-z0-9]{20,}+"),
    TokenForm("gitpod-token", ("gitpod_pat_",), dotted(30)),
    TokenForm("codesandbox-token", ("csb_v1_",), url_safe(30)),
    TokenForm(
        "sourcegraph-token", ("sgp_", "sgd_", "sgs_"), r"(?:[A-Za-z0-9]{3,16}+_)?[A-Za-z0-9]{30,}+"
    ),  # Segment too
    # building and checking
    TokenForm("circleci-token", ("CCIPAT_", "CCIPRJ_"), r"[A-Za-z0-9_]{30,}+"),
    TokenForm(
        "buildkite-token",
        ("bkua_", "bkaa_", "bkaj_", "bkar_", "bkct_", "bkpt_", "bkpat_", "bkps_"),
        url_safe(30),
        needs_digit=True,
    ),
    TokenForm("harness-token", ("pat.", "sat."), r"[A-Za-z0-9_-]{20,24}\.[0-9a-f]{24}\.[A-Za-z0-9]{16,}+"),
    TokenForm("octopus-deploy-key", ("API-",), exactly("A-Z0-9", 26), needs_digit=True),
    TokenForm("mergify-key", ("mergify_application_key_",), url_safe(30)),
    TokenForm("depot-token", ("depot_org_", "depot_project_", "depot_user_"), alphanumeric(30)),
    TokenForm("percy-token", ("web_",), exactly("0-9a-f", 64)),
    TokenForm("chromatic-token", ("chpt_",), alphanumeric(10), needs_digit=True),
    TokenForm("ionic-token", ("ion_",), alphanumeric(36)),
    TokenForm("sonar-token", ("squ_", "sqp_", "sqa_"), url_safe(30)),
    TokenForm("snyk-token", ("snyk_uat.", "snyk_sat."), dotted(8)),
    TokenForm("socket-token", ("sktsec_",), url_safe(20)),
    TokenForm("deepsource-token", ("dsp_",), exactly("0-9a-f", 40)),
    TokenForm("aikido-secret", ("AIK_CI_", "AIK_SECRET_"), alphanumeric(20)),
    TokenForm("endor-labs-key", ("endr+",), r"[A-Za-z0-9-]{16,}+"),
    TokenForm("censys-token", ("censys_",), r"[A-Za-z0-9]{6,}+_[A-Za-z0-9]{16,}+", needs_digit=True),
    TokenForm("launchdarkly-key", ("sdk-", "api-"), UUID + CLOSED_END),
    TokenForm("devcycle-key", ("dvc_server_",), url_safe(8)),
    TokenForm("configcat-key", ("configcat-sdk-1/",), r"[A-Za-z0-9_-]{16,}+/[A-Za-z0-9_-]{16,}+"),
    TokenForm("unleash-token", ("*:", "default:"), r"[a-z][a-z0-9_-]{1,40}+\.[0-9a-f]{40,}+"),
    TokenForm("flagsmith-key", ("ser.",), rf"[A-Za-z0-9]{{22}}{CLOSED_END}", needs_digit=True),
    TokenForm("stytch-secret", ("secret-live-", "secret-test-"), url_safe(24)),
    TokenForm("statsig-secret", ("secret-",), alphanumeric(36), needs_digit=True),
    # packages
    TokenForm("npm-token", ("npm_",), alphanumeric(30)),
    TokenForm("pypi-token", ("pypi-",), NO_WORD + url_safe(40), needs_digit=True),
    TokenForm("rubygems-key", ("rubygems_",), alphanumeric(32)),
    TokenForm("nuget-key", ("oy2",), exactly("a-z0-9", 43), needs_digit=True),
    TokenForm("crates-token", ("cio",), exactly("A-Za-z0-9", 32), needs_digit=True),
    TokenForm(
        "packagist-token", ("packagist_ort_", "packagist_out_", "packagist_acs_", "packagist_uut_"), alphanumeric(40)
    ),
    TokenForm("clojars-token", ("CLOJARS_",), alphanumeric(40)),
    TokenForm("jsr-token", ("jsrp_", "jsrd_"), alphanumeric(30)),
    TokenForm("cloudsmith-key", ("csa_",), alphanumeric(30), needs_digit=True),
    TokenForm("artifactory-key", ("AKCp",), alphanumeric(50)),
    TokenForm("artifactory-token", ("cmVmd",), rf"[A-Za-z0-9]{{50,70}}+{END}"),
    TokenForm("docker-token", ("dckr_pat_", "dckr_oat_"), url_safe(20)),
    TokenForm("settlemint-token", ("sm_aat_", "sm_pat_", "sm_sat_"), exactly("A-Za-z0-9", 16)),
)
