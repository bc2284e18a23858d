/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static int look_up(struct privileges *privileges, const char *user, FILE *messages)
{
    errno = 0;
    const struct passwd *entry = getpwnam(user);
    if (!entry) {
        int error = errno ? errno : ENOENT;
        fprintf(messages,
                "holdfast: user \"%s\": %s; create it (useradd --system --no-create-home %s) or "
                "write another one in the configuration\n",
                user, error == ENOENT ? "there is no such user" : strerror(error), user);
        return -error;
    }
    privileges->drop = true;
    privileges->uid = entry->pw_uid;
    privileges->gid = entry->pw_gid;
    privileges->group_count = PRIVILEGES_GROUPS_MAX;
    if (getgrouplist(user, entry->pw_gid, privileges->groups, &privileges->group_count) < 0) {
        fprintf(messages, "holdfast: user \"%s\" is in more than %d groups: the rest is ignored\n",
                user, PRIVILEGES_GROUPS_MAX);
        privileges->group_count = PRIVILEGES_GROUPS_MAX;
    }
    return 0;
}

int privileges_resolve(struct privileges *privileges, const char *user, FILE *messages)
{
    memset(privileges, 0, sizeof *privileges);
    if (geteuid() == 0) {
        if (user)
            return look_up(privileges, user, messages);
        fprintf(messages, "holdfast: no user is configured: workers run as \"nobody\"\n");
        return look_up(privileges, "nobody", messages);
    }
    if (user) {
        const struct passwd *entry = getpwnam(user);
        if (!entry || entry->pw_uid != geteuid())
            fprintf(messages, "holdfast: not started as root: user \"%s\" is ignored\n", user);
    }
    return 0;
}

int privileges_drop(const struct privileges *privileges)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    if (!privileges->drop)
        return 0;
    if (setgroups((size_t)privileges->group_count, privileges->groups) < 0 ||
        setresgid(privileges->gid, privileges->gid, privileges->gid) < 0 ||
        setresuid(privileges->uid, privileges->uid, privileges->uid) < 0)
        return -errno;
    return 0;
}
