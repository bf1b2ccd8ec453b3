"""Names of the errors of Slack's Web API, grouped by what follows from them."""

from __future__ import annotations

from typing import Final

THROTTLING: Final = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})

# Slack's own words: "some aspect of the operation may have succeeded".
UNCLEAR: Final = frozenset(
    {
        "fatal_error",
        "internal_error",
        "service_unavailable",
        "temporarily_unavailable",
        "request_timeout",
        "team_added_to_org",
        "migration_in_progress",
        "external_channel_migrating",
    }
)

MESSAGE_GONE: Final = "message_not_found"

NOT_EDITABLE: Final = frozenset({"cant_update_message", "edit_window_closed"})

# https://docs.slack.dev/reference/methods/chat.postMessage#errors, and those of chat.update,
# conversations.replies and auth.test: what would be refused in every channel.
OF_INSTALLATION: Final = frozenset(
    {
        "access_denied",
        "accesslimited",
        "account_inactive",
        "app_not_installed",
        "ekm_access_denied",
        "enterprise_is_restricted",
        "invalid_app",
        "invalid_auth",
        "invalid_token",
        "missing_scope",
        "no_permission",
        "not_allowed_token_type",
        "not_authed",
        "org_login_required",
        "team_access_not_granted",
        "team_disabled",
        "team_not_found",
        "team_quota_exceeded",
        "token_expired",
        "token_revoked",
        "two_factor_setup_required",
        "two_factor_setup_required_and_sso_required",
    }
)

OF_FORM: Final = frozenset(
    {
        "attachment_payload_limit_exceeded",
        "block_mismatch",
        "invalid_arg_name",
        "invalid_arguments",
        "invalid_array_arg",
        "invalid_attachments",
        "invalid_blocks",
        "invalid_blocks_format",
        "invalid_charset",
        "invalid_form_data",
        "invalid_metadata_format",
        "invalid_metadata_schema",
        "invalid_post_type",
        "markdown_text_conflict",
        "metadata_must_be_sent_from_app",
        "metadata_too_large",
        "method_deprecated",
        "missing_post_type",
        "msg_blocks_too_long",
        "msg_too_long",
        "no_text",
        "rich_text_too_deep",
        "too_many_attachments",
    }
)
