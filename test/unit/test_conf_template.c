/* SPDX-License-Identifier: Apache-2.0 */
#include "master/conf_template.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>

static struct conf_template good(const char *text)
{
    struct conf_template template;
    int rc = conf_template_parse(&template, slice_of(text));
    ck_assert_msg(rc == 0, "%s: %s", text, template.why);
    return template;
}

static void part_is(const struct conf_template *template, uint32_t i, enum image_var var,
                    const char *text)
{
    ck_assert_uint_lt(i, template->count);
    ck_assert_int_eq(template->parts[i].var, var);
    ck_assert_msg(slice_eq(template->parts[i].text, slice_of(text)), "%u: %.*s", i,
                  (int)template->parts[i].text.n, template->parts[i].text.p);
}

static void refused(const char *text, const char *why)
{
    struct conf_template template;
    ck_assert_int_eq(conf_template_parse(&template, slice_of(text)), -EINVAL);
    ck_assert_str_eq(template.why, why);
}

START_TEST(text_and_variables_become_parts_in_their_order)
{
    struct conf_template template = good("$remote_addr:$arg_room");
    ck_assert_uint_eq(template.count, 3);
    part_is(&template, 0, VAR_REMOTE_ADDR, "");
    part_is(&template, 1, VAR_TEXT, ":");
    part_is(&template, 2, VAR_ARG, "room");
}
END_TEST

START_TEST(every_variable_is_known_by_its_name)
{
    static const struct {
        const char *text;
        enum image_var var;
        const char *name;
    } rows[] = {
        {"$remote_addr", VAR_REMOTE_ADDR, ""},
        {"$binary_remote_addr", VAR_BINARY_REMOTE_ADDR, ""},
        {"$remote_port", VAR_REMOTE_PORT, ""},
        {"$host", VAR_HOST, ""},
        {"$http_host", VAR_HTTP_HOST, ""},
        {"$server_port", VAR_SERVER_PORT, ""},
        {"$uri", VAR_URI, ""},
        {"$request_uri", VAR_REQUEST_URI, ""},
        {"$args", VAR_ARGS, ""},
        {"$scheme", VAR_SCHEME, ""},
        {"$request_method", VAR_METHOD, ""},
        {"$proxy_host", VAR_BACKEND, ""},
        {"$remote_net_24_64", VAR_REMOTE_NET, "24_64"},
        {"$remote_net_0_128", VAR_REMOTE_NET, "0_128"},
        {"$rest", VAR_REST, ""},
        {"$9", VAR_CAPTURE, "9"},
        {"$arg_room", VAR_ARG, "room"},
        {"$http_x_user", VAR_HTTP, "x_user"},
        {"$http_hosts", VAR_HTTP, "hosts"},
        {"$cookie_SID", VAR_COOKIE, "SID"},
        {"plain text", VAR_TEXT, "plain text"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conf_template template = good(rows[i].text);
        ck_assert_uint_eq(template.count, 1);
        part_is(&template, 0, rows[i].var, rows[i].name);
    }
}
END_TEST

START_TEST(the_reference_lists_each_variable_once)
{
    const char *doc, *name;
    uint32_t count = 0;
    for (; (name = conf_template_variable(count, &doc)) != NULL; count++) {
        ck_assert(name[0] == '$' && doc[0] != '\0');
        ck_assert_uint_eq(good(name).count, 1);
    }
    ck_assert_uint_eq(count, VAR_CAPTURE);
}
END_TEST

START_TEST(braces_separate_a_name_from_text)
{
    struct conf_template template = good("a${host}b${arg_x}$uri-");
    ck_assert_uint_eq(template.count, 6);
    part_is(&template, 0, VAR_TEXT, "a");
    part_is(&template, 1, VAR_HOST, "");
    part_is(&template, 2, VAR_TEXT, "b");
    part_is(&template, 3, VAR_ARG, "x");
    part_is(&template, 4, VAR_URI, "");
    part_is(&template, 5, VAR_TEXT, "-");
}
END_TEST

START_TEST(an_unknown_variable_is_refused_with_the_nearest_one)
{
    refused("$remote_adr", "unknown variable \"$remote_adr\"; did you mean \"$remote_addr\"?");
    refused("x${hots}", "unknown variable \"$hots\"; did you mean \"$host\"?");
    refused("$arg_", "unknown variable \"$arg_\"; did you mean \"$args\"?");
    refused("$cookies_session_identifier",
            "unknown variable \"$cookies_session_identifier\"; did you mean \"$cookie_NAME\"?");
    refused("$HOST", "unknown variable \"$HOST\"; there are $remote_addr, $host, $uri, $arg_NAME, "
                     "$http_NAME, $cookie_NAME and more, see --keys");
}
END_TEST

START_TEST(what_is_cut_off_is_refused)
{
    refused("", "the template is empty");
    refused("$", "a variable's name must follow \"$\"");
    refused("a$", "a variable's name must follow \"$\"");
    refused("$$host", "a variable's name must follow \"$\"");
    refused("$-", "a variable's name must follow \"$\"");
    refused("${}", "a variable's name must follow \"$\"");
    refused("${", "a variable's name must follow \"$\"");
    refused("${host", "\"${\" is not closed by \"}\"");
    refused("${host$uri}", "\"${\" is not closed by \"}\"");
}
END_TEST

START_TEST(every_prefix_is_read_without_going_past_it)
{
    static const char text[] = "a${host}:$arg_room$http_host${cookie_x}$";
    for (size_t n = 0; n < sizeof(text); n++) {
        char *exact = malloc(n + (n == 0));
        struct conf_template template;
        memcpy(exact, text, n);
        int rc = conf_template_parse(&template, (struct slice){exact, n});
        ck_assert(rc == 0 || (rc == -EINVAL && template.why[0] != '\0'));
        free(exact);
    }
}
END_TEST

START_TEST(the_number_of_parts_is_bounded)
{
    char text[5 * (CONF_TEMPLATE_PARTS_MAX + 1) + 1] = "";
    for (int i = 0; i < CONF_TEMPLATE_PARTS_MAX; i++)
        strcat(text, "$host");
    ck_assert_uint_eq(good(text).count, CONF_TEMPLATE_PARTS_MAX);
    strcat(text, "$host");
    refused(text, "more than 32 variables and pieces of text");
}
END_TEST

int main(void)
{
    TCase *all = tcase_create("conf_template");
    tcase_add_test(all, text_and_variables_become_parts_in_their_order);
    tcase_add_test(all, every_variable_is_known_by_its_name);
    tcase_add_test(all, the_reference_lists_each_variable_once);
    tcase_add_test(all, braces_separate_a_name_from_text);
    tcase_add_test(all, an_unknown_variable_is_refused_with_the_nearest_one);
    tcase_add_test(all, what_is_cut_off_is_refused);
    tcase_add_test(all, every_prefix_is_read_without_going_past_it);
    tcase_add_test(all, the_number_of_parts_is_bounded);
    Suite *suite = suite_create("conf_template");
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
