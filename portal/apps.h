/* SPDX-License-Identifier: Apache-2.0
 *
 * Apps behind the proxy, as the portal sees them: who may use one. */
#pragma once

#include "webhook/decide.h"

/* The gate's own rule (proxy/): what a person is shown here is what they get in to there. */
bool apps_may_use(const struct config *config, const struct config_app *app,
                  const struct identity *identity);
