/* SPDX-License-Identifier: Apache-2.0
 *
 * `postern login`: an exec credential plugin (client.authentication.k8s.io/v1) for kubectl and whatever else reads a
 * kubeconfig. It runs on laptops, for a moment, and shares nothing with the server but the code below it. */
#pragma once

/* argv[0] is "login". The exit code: 0 a token was printed, 1 it could not be had (stderr has one sentence), 2 the command
 * line is wrong. Only the ExecCredential goes to stdout. */
int login_run(int argc, char **argv);
