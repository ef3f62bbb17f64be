/* SPDX-License-Identifier: Apache-2.0
 *
 * See exec_credential.h. */
#include "exec_credential.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/secret.h"
#include "base/text.h"

static const char *const versions[] = {"client.authentication.k8s.io/v1",
                                       "client.authentication.k8s.io/v1beta1"};

static bool find_version(h2o_iovec_t asked, const char **out)
{
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
        if (iovec_equal(asked, versions[i])) {
            *out = versions[i];
            return true;
        }
    return false;
}

bool exec_info_read(h2o_mem_pool_t *pool, const char *text, struct exec_info *out,
                    struct error *err)
{
    struct exec_info self = {.api_version = versions[0]};
    struct json *document;
    h2o_iovec_t kind, version;
    if (text != NULL) {
        if (!json_parse(pool, iovec_of(text), NULL, &document, err) ||
            !json_string(document, "kind", &kind, err) ||
            !json_string(document, "apiVersion", &version, err))
            return error_prefix(err, "KUBERNETES_EXEC_INFO");
        if (!iovec_equal(kind, "ExecCredential") || !find_version(version, &self.api_version))
            return error_set(err, ERROR_BAD_INPUT,
                             "KUBERNETES_EXEC_INFO asks for something else than an ExecCredential "
                             "of %s or v1beta1; the kubeconfig's apiVersion says which",
                             versions[0]);
        const struct json *spec = json_member(document, "spec");
        if (spec != NULL && !json_optional_bool(spec, "interactive", &self.interactive, err))
            return error_prefix(err, "KUBERNETES_EXEC_INFO");
    }
    *out = self;
    return true;
}

bool exec_credential_make(h2o_mem_pool_t *pool, const struct exec_info *info, h2o_iovec_t token,
                          int64_t expires_s, h2o_iovec_t *out, struct error *err)
{
    struct json_writer *writer = json_writer_new(pool);
    char expires[CLOCK_RFC3339_SIZE];
    h2o_iovec_t written;
    json_begin_object(writer);
    json_key(writer, "apiVersion");
    json_put_string(writer, info->api_version);
    json_key(writer, "kind");
    json_put_string(writer, "ExecCredential");
    json_key(writer, "status");
    json_begin_object(writer);
    json_key(writer, "token");
    json_put_iovec(writer, token);
    json_key(writer, "expirationTimestamp");
    json_put_string(writer, clock_rfc3339(expires_s * 1000, expires));
    json_end_object(writer);
    json_end_object(writer);
    if (!json_writer_end(writer, &written, err))
        return false;
    *out = secret_alloc_in_pool(pool, written.len + 1);
    memcpy(out->base, written.base, written.len);
    out->base[written.len] = '\n';
    explicit_bzero(written.base, written.len);
    return true;
}
