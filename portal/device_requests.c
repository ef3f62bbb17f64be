/* SPDX-License-Identifier: Apache-2.0
 *
 * A fixed table that is searched from end to end: with a thousand places that is microseconds, and there is nothing
 * that strangers could make grow. A place whose request is over is kept until it is needed, the one that ended first
 * going first, so that a late poll learns that it is late. Codes are kept as HMACs under a key of this process, since a
 * plain hash of eight letters is undone in seconds. */
#include "device_requests.h"

#include <assert.h>
#include <pthread.h>

#include "base/crypto.h"
#include "base/text.h"

#define ALPHABET      "BCDFGHJKLMNPQRSTVWXZ" /* RFC 8628 section 6.1: no vowels, no look-alikes */
#define LETTERS       8
#define GUESSERS      1024 /* people with wrong codes; beyond, the one whose time is over first goes */
#define POLL_SLACK_MS 500 /* a client with a steady timer is at times a bit early by our clock */

enum state { EMPTY, WAITING, APPROVED, DENIED, SPENT };

struct place {
    enum state state;
    uint8_t device[SHA256_SIZE], user[SHA256_SIZE];
    struct ip_address network; /* what counts as one address */
    struct device_request request;
    int64_t ends_ms;
    int64_t next_poll_ms; /* polls before that are too early */
    int64_t interval_ms;
    char login_id[SESSION_ID_SIZE]; /* APPROVED: by that sign-in */
};

struct guesser {
    uint8_t who[SHA256_SIZE];
    int64_t ends_ms; /* when its wrong codes are forgotten */
    int wrong;
};

struct device_requests {
    pthread_mutex_t lock;
    uint8_t key[SHA256_SIZE];
    struct place places[DEVICE_REQUESTS_MAX];
    struct guesser guessers[GUESSERS];
};

struct device_requests *device_requests_new(void)
{
    struct device_requests *self = h2o_mem_alloc(sizeof(*self));
    memset(self, 0, sizeof(*self));
    pthread_mutex_init(&self->lock, NULL);
    crypto_random(self->key, sizeof(self->key));
    return self;
}

void device_requests_free(struct device_requests *self)
{
    if (self == NULL)
        return;
    pthread_mutex_destroy(&self->lock);
    explicit_bzero(self, sizeof(*self));
    free(self);
}

static void digest(const struct device_requests *self, h2o_iovec_t text, uint8_t out[SHA256_SIZE])
{
    crypto_hmac_sha256(h2o_iovec_init(self->key, sizeof(self->key)), text, out);
}

static void digest_string(const struct device_requests *self, const char *text,
                          uint8_t out[SHA256_SIZE])
{
    digest(self, iovec_of(text), out);
}

static bool is_open(const struct place *place, int64_t now_ms)
{
    return (place->state == WAITING || place->state == APPROVED) && now_ms < place->ends_ms;
}

/* ---- codes ---- */

static void make_device_code(char out[DEVICE_CODE_LEN + 1])
{
    uint8_t random[32];
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    crypto_random(random, sizeof(random));
    h2o_iovec_t text = base64url_encode(&pool, random, sizeof(random));
    assert(text.len == DEVICE_CODE_LEN);
    memcpy(out, text.base, DEVICE_CODE_LEN + 1);
    explicit_bzero(text.base, text.len);
    explicit_bzero(random, sizeof(random));
    h2o_mem_clear_pool(&pool);
}

static void make_user_code(char out[DEVICE_USER_SIZE])
{
    const unsigned count = sizeof(ALPHABET) - 1;
    char letters[LETTERS];
    for (size_t made = 0; made < LETTERS;) {
        uint8_t random;
        crypto_random(&random, 1);
        if (random < 256 / count * count) /* each letter as likely as the others */
            letters[made++] = ALPHABET[random % count];
    }
    snprintf(out, DEVICE_USER_SIZE, "%.4s-%.4s", letters, letters + LETTERS / 2);
}

bool device_user_code_read(h2o_iovec_t typed, char out[DEVICE_USER_SIZE])
{
    char letters[LETTERS];
    size_t count = 0;
    for (size_t i = 0; i < typed.len; i++) {
        char c = typed.base[i];
        if (c == '-' || c == ' ' || c == '\t')
            continue;
        if (c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        if (count == LETTERS || memchr(ALPHABET, c, sizeof(ALPHABET) - 1) == NULL)
            return false;
        letters[count++] = c;
    }
    if (count == LETTERS)
        snprintf(out, DEVICE_USER_SIZE, "%.4s-%.4s", letters, letters + LETTERS / 2);
    return count == LETTERS;
}

/* ---- the machine ---- */

/* Whoever has an IPv6 address has a network of 2^64 of them. */
static struct ip_address network_of(const char *address)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct ip_address out;
    if (!ip_parse(address, &out))
        return (struct ip_address){{0}}; /* all who are not known are one */
    if (memcmp(out.bytes, mapped, sizeof(mapped)) != 0)
        memset(out.bytes + 8, 0, 8);
    return out;
}

static bool has_user_code(const struct device_requests *self, const uint8_t user[SHA256_SIZE])
{
    for (size_t i = 0; i < DEVICE_REQUESTS_MAX; i++)
        if (self->places[i].state != EMPTY && crypto_equal(self->places[i].user, user, SHA256_SIZE))
            return true;
    return false;
}

static enum device_start find_room(struct device_requests *self, const struct ip_address *network,
                                   int64_t now_ms, struct place **out)
{
    struct place *best = NULL;
    unsigned of_network = 0;
    for (struct place *at = self->places; at < self->places + DEVICE_REQUESTS_MAX; at++) {
        if (!is_open(at, now_ms))
            best = best == NULL || at->ends_ms < best->ends_ms ? at : best;
        else if (memcmp(&at->network, network, sizeof(*network)) == 0)
            of_network++;
    }
    if (of_network >= DEVICE_REQUESTS_PER_ADDRESS)
        return DEVICE_ADDRESS_FULL;
    if (best == NULL)
        return DEVICE_TABLE_FULL;
    *out = best;
    return DEVICE_STARTED;
}

enum device_start device_requests_start(struct device_requests *self, const char *cluster,
                                        const char *address, int64_t now_ms,
                                        struct device_codes *out)
{
    struct place *place;
    struct place made = {.state = WAITING,
                         .network = network_of(address),
                         .ends_ms = now_ms + DEVICE_REQUEST_S * 1000,
                         .next_poll_ms = now_ms, /* the first one may come at once */
                         .interval_ms = DEVICE_INTERVAL_S * 1000};
    made.request.began_ms = now_ms;
    snprintf(made.request.cluster, sizeof(made.request.cluster), "%s", cluster);
    snprintf(made.request.address, sizeof(made.request.address), "%s", address);
    pthread_mutex_lock(&self->lock);
    enum device_start result = find_room(self, &made.network, now_ms, &place);
    if (result == DEVICE_STARTED) {
        make_device_code(out->device);
        digest_string(self, out->device, made.device);
        do {
            make_user_code(out->user);
            digest_string(self, out->user, made.user);
        } while (has_user_code(self, made.user));
        *place = made;
    }
    pthread_mutex_unlock(&self->lock);
    return result;
}

static enum device_poll judge_poll(struct place *place, int64_t now_ms)
{
    if (place->state == SPENT)
        return DEVICE_POLL_UNKNOWN;
    if (place->state == DENIED)
        return DEVICE_POLL_DENIED;
    if (now_ms >= place->ends_ms)
        return DEVICE_POLL_EXPIRED;
    if (place->state == APPROVED)
        return DEVICE_POLL_APPROVED;
    bool early = now_ms < place->next_poll_ms;
    if (early)
        place->interval_ms += DEVICE_INTERVAL_S * 1000;
    place->next_poll_ms = now_ms + place->interval_ms - POLL_SLACK_MS;
    return early ? DEVICE_POLL_SLOW_DOWN : DEVICE_POLL_PENDING;
}

static struct place *find_device(struct device_requests *self, h2o_iovec_t code,
                                 const char *cluster)
{
    uint8_t wanted[SHA256_SIZE];
    digest(self, code, wanted);
    for (struct place *at = self->places; at < self->places + DEVICE_REQUESTS_MAX; at++)
        if (at->state != EMPTY && crypto_equal(at->device, wanted, SHA256_SIZE))
            return strcmp(at->request.cluster, cluster) == 0 ? at : NULL;
    return NULL;
}

enum device_poll device_requests_poll(struct device_requests *self, h2o_iovec_t device_code,
                                      const char *cluster, int64_t now_ms,
                                      struct device_approval *out)
{
    enum device_poll result = DEVICE_POLL_UNKNOWN;
    if (device_code.len != DEVICE_CODE_LEN)
        return result;
    pthread_mutex_lock(&self->lock);
    struct place *place = find_device(self, device_code, cluster);
    if (place != NULL)
        result = judge_poll(place, now_ms);
    if (result == DEVICE_POLL_APPROVED) {
        place->state = SPENT;
        out->request = place->request;
        memcpy(out->login_id, place->login_id, sizeof(out->login_id));
    }
    pthread_mutex_unlock(&self->lock);
    return result;
}

/* ---- the person ---- */

static struct guesser *find_guesser(struct device_requests *self, const uint8_t who[SHA256_SIZE],
                                    int64_t now_ms)
{
    for (struct guesser *at = self->guessers; at < self->guessers + GUESSERS; at++)
        if (now_ms < at->ends_ms && crypto_equal(at->who, who, SHA256_SIZE))
            return at;
    return NULL;
}

static void count_wrong(struct device_requests *self, const uint8_t who[SHA256_SIZE],
                        int64_t now_ms)
{
    struct guesser *found = find_guesser(self, who, now_ms);
    if (found == NULL) {
        found = self->guessers;
        for (struct guesser *at = self->guessers; at < self->guessers + GUESSERS; at++)
            found = at->ends_ms < found->ends_ms ? at : found;
        *found = (struct guesser){.ends_ms = now_ms + DEVICE_WRONG_S * 1000};
        memcpy(found->who, who, SHA256_SIZE);
    }
    found->wrong++;
}

static struct place *find_user(struct device_requests *self, const char *user_code, int64_t now_ms)
{
    uint8_t wanted[SHA256_SIZE];
    digest_string(self, user_code, wanted);
    for (struct place *at = self->places; at < self->places + DEVICE_REQUESTS_MAX; at++)
        if (at->state != EMPTY && now_ms < at->ends_ms &&
            crypto_equal(at->user, wanted, SHA256_SIZE))
            return at;
    return NULL;
}

/* With the lock held. */
static enum device_found look_up(struct device_requests *self, const char *uid,
                                 const char *user_code, int64_t now_ms, struct place **out)
{
    uint8_t who[SHA256_SIZE];
    digest_string(self, uid, who);
    const struct guesser *guesser = find_guesser(self, who, now_ms);
    if (guesser != NULL && guesser->wrong >= DEVICE_WRONG_MAX)
        return DEVICE_LOCKED;
    struct place *place = find_user(self, user_code, now_ms);
    if (place == NULL) {
        count_wrong(self, who, now_ms);
        return DEVICE_NO_SUCH;
    }
    *out = place;
    return place->state == WAITING ? DEVICE_FOUND : DEVICE_DECIDED;
}

enum device_found device_requests_find(struct device_requests *self, const char *uid,
                                       const char *user_code, int64_t now_ms,
                                       struct device_request *out)
{
    struct place *place = NULL;
    pthread_mutex_lock(&self->lock);
    enum device_found found = look_up(self, uid, user_code, now_ms, &place);
    if (found == DEVICE_FOUND)
        *out = place->request;
    pthread_mutex_unlock(&self->lock);
    return found;
}

enum device_found device_requests_decide(struct device_requests *self, const char *uid,
                                         const char *user_code, const char *login_id,
                                         int64_t now_ms, struct device_request *out)
{
    struct place *place = NULL;
    pthread_mutex_lock(&self->lock);
    enum device_found found = look_up(self, uid, user_code, now_ms, &place);
    if (found == DEVICE_FOUND) {
        *out = place->request;
        place->state = login_id != NULL ? APPROVED : DENIED;
        if (login_id != NULL)
            snprintf(place->login_id, sizeof(place->login_id), "%s", login_id);
    }
    pthread_mutex_unlock(&self->lock);
    return found;
}
