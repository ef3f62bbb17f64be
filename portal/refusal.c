/* SPDX-License-Identifier: Apache-2.0
 *
 * One table from Okta's error codes to what happened and what to do. A code that does not stand here is
 * told as what it is: a no of Okta whose reason we don't know. */
#include "refusal.h"

#define ASK_OPERATOR "If it stays like this, give whoever runs Postern the request number below."

struct meaning {
    const char *code;
    enum sign_in_result result;
    struct trouble trouble;
};

static const struct meaning meanings[] = {
    {"access_denied",
     SIGN_IN_REFUSED,
     {.status = 403,
      .title = "Okta did not let you in",
      .what =
          "Most often that means that your Okta administrator has not assigned you to this app.",
      .todo = "Ask for your account, or a group of yours, to be assigned to the app in Okta; then "
              "sign in again."}},
    {"user_not_assigned",
     SIGN_IN_REFUSED,
     {.status = 403,
      .title = "You are not assigned to this app",
      .what = "Your Okta administrator has not assigned you to this app.",
      .todo = "Ask for your account, or a group of yours, to be assigned to the app in Okta; then "
              "sign in again."}},
    {"no_matching_policy",
     SIGN_IN_REFUSED,
     {.status = 403,
      .title = "No policy of Okta lets you in",
      .what = "Okta knows you, but no access policy there allows this app what it asked for.",
      .todo = "Ask your Okta administrator to look at the app's access policies."}},
    {"login_required",
     SIGN_IN_REFUSED,
     {.status = 403,
      .title = "Okta wants you to sign in there",
      .what = "Okta did not know this browser and was not allowed to ask you.",
      .todo = "Sign in again; Okta will ask this time."}},
    {"interaction_required",
     SIGN_IN_REFUSED,
     {.status = 403,
      .title = "Okta needs to ask you something",
      .what = "Okta wanted to show you a page and was not allowed to.",
      .todo = "Sign in again; Okta will ask this time."}},
    {"consent_required",
     SIGN_IN_REFUSED,
     {.status = 403,
      .title = "Okta wants your consent",
      .what = "Okta asks people for consent to this app, and yours is missing.",
      .todo = "Sign in again and agree, or ask your Okta administrator to trust the app."}},
    {"unmet_authentication_requirements",
     SIGN_IN_REFUSED,
     {.status = 403,
      .title = "Okta wants a stronger sign-in",
      .what = "This portal asks for a stronger way of signing in than the one you used.",
      .todo = "Sign in again with another factor, or ask your Okta administrator to enrol one."}},
    {"acr_not_met", /* ours, as the next */
     SIGN_IN_REFUSED,
     {.status = 403,
      .title = "This portal wants a stronger sign-in",
      .what = "Okta let you in, but in a weaker way than this portal asks for.",
      .todo = "Sign in again with another factor. If Okta does not offer one, ask your Okta "
              "administrator."}},
    {"not_authenticated_anew",
     SIGN_IN_REFUSED,
     {.status = 403,
      .title = "Okta did not ask who you are",
      .what = "This portal wants Okta to ask you anew at each sign-in, and Okta did not.",
      .todo = "Sign out of Okta, then sign in again. " ASK_OPERATOR}},
    {"temporarily_unavailable",
     SIGN_IN_OKTA_FAILED,
     {.status = 503,
      .title = "Okta is busy",
      .what = "Okta says that it can't sign anybody in right now. Your open sessions go on.",
      .todo = "Try again in a minute."}},
    {"server_error",
     SIGN_IN_OKTA_FAILED,
     {.status = 502,
      .title = "Okta failed",
      .what = "Something went wrong inside Okta. Your open sessions go on.",
      .todo = "Try again in a minute. " ASK_OPERATOR}},
    {"invalid_scope",
     SIGN_IN_OKTA_FAILED,
     {.status = 502,
      .title = "Okta does not know a scope",
      .what = "This portal asked Okta for a scope that Okta does not give it.",
      .todo = "Whoever runs Postern can mend that: the scopes in its config must be granted to the "
              "app in Okta."}},
    {"unauthorized_client",
     SIGN_IN_OKTA_FAILED,
     {.status = 502,
      .title = "Okta does not accept this portal",
      .what = "The app in Okta does not allow this way of signing in.",
      .todo =
          "Whoever runs Postern can mend that: the app needs the grant types Authorization Code "
          "and Refresh Token."}},
    {"no_refresh_token", /* ours: oidc.user_in_idtoken */
     SIGN_IN_OKTA_FAILED,
     {.status = 502,
      .title = "Okta's answer lacks a token",
      .what = "This portal keeps your groups up to date with a refresh token, and Okta gave none.",
      .todo = "Whoever runs Postern can mend that: the app in Okta needs the grant type Refresh "
              "Token and the scope offline_access."}},
    {"invalid_client",
     SIGN_IN_OKTA_FAILED,
     {.status = 502,
      .title = "Okta does not accept this portal",
      .what = "Okta does not know this portal's client id, or not its secret.",
      .todo =
          "Whoever runs Postern can mend that: client id and secret in its config must be those "
          "of the app in Okta."}},
    {"invalid_grant",
     SIGN_IN_BAD_ANSWER,
     {.status = 400,
      .title = "This sign-in could not be finished",
      .what = "Okta did not accept its own code any more. Codes work once and for a short time.",
      .todo = "Sign in again."}},
};

static void set_action(struct trouble *trouble)
{
    trouble->action = trouble->status >= 500 ? "Try again" : "Sign in again";
    trouble->href = "/login";
}

static const struct meaning *find(const char *code)
{
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
        if (strcmp(meanings[i].code, code) == 0)
            return &meanings[i];
    return NULL;
}

void refusal_of_code(const char *code, struct trouble *out, enum sign_in_result *result)
{
    const struct meaning *meaning = find(code);
    *result = meaning != NULL ? meaning->result : SIGN_IN_REFUSED;
    *out = meaning != NULL
               ? meaning->trouble
               : (struct trouble){.status = 400,
                                  .title = "Okta did not sign you in",
                                  .what = "Okta said no, for a reason that Postern does not know.",
                                  .todo = "Sign in again. " ASK_OPERATOR};
    set_action(out);
}

void refusal_okta_down(struct trouble *out)
{
    *out = (struct trouble){
        .status = 502,
        .title = "Okta did not answer",
        .what = "Signing in needs Okta, and Okta did not answer as it should. Your open sessions "
                "go on.",
        .todo = "Try again in a moment. " ASK_OPERATOR,
    };
    set_action(out);
}

void refusal_of_result(const struct okta_result *result, struct trouble *out,
                       enum sign_in_result *counted)
{
    const struct meaning *meaning = find(result->code);
    /* A 429 may carry "invalid_grant": what Okta can't judge now is no refusal, whatever its code. */
    if (meaning != NULL && (result->answer == OKTA_NO || meaning->result == SIGN_IN_OKTA_FAILED)) {
        refusal_of_code(result->code, out, counted);
    } else if (result->answer == OKTA_NO) {
        *counted = SIGN_IN_BAD_ANSWER;
        *out = (struct trouble){
            .status = 403,
            .title = "Okta's answer could not be verified",
            .what = "What Okta sent back is not a proof of who you are, so nobody was signed in.",
            .todo = "Sign in again. " ASK_OPERATOR};
        set_action(out);
    } else {
        *counted = SIGN_IN_OKTA_FAILED;
        refusal_okta_down(out);
    }
}
