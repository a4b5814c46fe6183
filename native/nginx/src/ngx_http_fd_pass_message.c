
/*
 * What the backend is told of the request: one netstring of SCGI headers, and behind it the early bytes.
 */


#include "ngx_http_fd_pass_module.h"


/* a netstring's length in decimal, and ":" */
#define NGX_HTTP_FD_PASS_PREFIX_LEN  (NGX_SIZE_T_LEN + 1)


typedef struct {
    ngx_str_t  name;
    ngx_str_t  value;
} ngx_http_fd_pass_header_t;


typedef struct {
    ngx_http_request_t  *request;
    ngx_array_t          headers;    /* ngx_http_fd_pass_header_t */
    ngx_array_t          params;     /* the same, of fd_pass_param */
    ngx_uint_t           failed;
} ngx_http_fd_pass_builder_t;


static ngx_int_t ngx_http_fd_pass_evaluate_params(
    ngx_http_fd_pass_builder_t *b, ngx_array_t *params);
static void ngx_http_fd_pass_add(ngx_http_fd_pass_builder_t *b, char *name,
    ngx_str_t *value);
static void ngx_http_fd_pass_add_indexed(ngx_http_fd_pass_builder_t *b,
    char *name, ngx_int_t index);
static void ngx_http_fd_pass_push(ngx_http_fd_pass_builder_t *b,
    ngx_str_t *name, ngx_str_t *value);
static void ngx_http_fd_pass_add_location(ngx_http_fd_pass_builder_t *b);
static void ngx_http_fd_pass_add_fields(ngx_http_fd_pass_builder_t *b,
    ngx_array_t *params);
static ngx_int_t ngx_http_fd_pass_field_name(ngx_http_request_t *r,
    ngx_str_t *field, ngx_str_t *name);
static ngx_uint_t ngx_http_fd_pass_is_reserved(ngx_str_t *name);
static ngx_uint_t ngx_http_fd_pass_has_param(ngx_array_t *params,
    ngx_str_t *name);


/* what the protocol itself decides by: no operator's value may stand there */

static ngx_str_t  ngx_http_fd_pass_reserved[] = {
    ngx_string("CONTENT_LENGTH"),
    ngx_string("SCGI"),
    ngx_string("FD_PASS_VERSION"),
    ngx_string("FD_PASS_KEEPALIVE"),
    ngx_string("FD_PASS_VIA"),
    ngx_string("FD_PASS_VIA_PID"),
    ngx_string("FD_PASS_VIA_UID"),
    ngx_string("FD_PASS_VIA_GID"),
    ngx_string("FD_PASS_VIA_VERSION"),
    ngx_string("FD_PASS_RELAY"),
    ngx_string("HTTPS"),
    ngx_string("KTLS_RX"),
    ngx_string("SERVER_PROTOCOL"),
    ngx_string("HTTP_CONTENT_LENGTH"),
    ngx_string("HTTP_TRANSFER_ENCODING"),
    ngx_null_string
};


char *
ngx_http_fd_pass_param(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fd_pass_loc_conf_t  *flcf = conf;

    u_char                             ch;
    ngx_str_t                         *value;
    ngx_uint_t                         i;
    ngx_http_fd_pass_param_t          *param;
    ngx_http_compile_complex_value_t   ccv;

    value = cf->args->elts;

    for (i = 0; i < value[1].len; i++) {
        ch = value[1].data[i];

        if (!((ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9')
              || ch == '_'))
        {
            break;
        }
    }

    if (value[1].len == 0 || i != value[1].len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is not a name of capital letters, digits "
                           "and \"_\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_fd_pass_is_reserved(&value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is sent by \"fd_pass\" itself and "
                           "cannot be set", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (flcf->params == NGX_CONF_UNSET_PTR) {
        flcf->params = ngx_array_create(cf->pool, 4,
                                        sizeof(ngx_http_fd_pass_param_t));
        if (flcf->params == NULL) {
            return NGX_CONF_ERROR;
        }

    } else if (ngx_http_fd_pass_has_param(flcf->params, &value[1])) {
        return "is duplicate";
    }

    param = ngx_array_push(flcf->params);
    if (param == NULL) {
        return NGX_CONF_ERROR;
    }

    param->name = value[1];
    param->if_not_empty = 0;

    if (cf->args->nelts == 4) {
        if (ngx_strcmp(value[3].data, "if_not_empty") != 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\", it may be "
                               "\"if_not_empty\"", &value[3]);
            return NGX_CONF_ERROR;
        }

        param->if_not_empty = 1;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[2];
    ccv.complex_value = &param->value;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_fd_pass_message_variables(ngx_conf_t *cf)
{
    ngx_uint_t                     i;
    ngx_http_fd_pass_main_conf_t  *fmcf;

    fmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_fd_pass_module);

    struct {
        ngx_str_t   name;
        ngx_int_t  *index;
    } variables[] = {
        { ngx_string("remote_addr"), &fmcf->remote_addr_index },
        { ngx_string("remote_port"), &fmcf->remote_port_index },
        { ngx_string("server_addr"), &fmcf->server_addr_index },
        { ngx_string("server_port"), &fmcf->server_port_index },
        { ngx_string("server_name"), &fmcf->server_name_index },
        { ngx_string("scheme"), &fmcf->scheme_index }
    };

    for (i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        *variables[i].index = ngx_http_get_variable_index(cf,
                                                          &variables[i].name);
        if (*variables[i].index == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * Makes ctx->message: one buffer, so that one sendmsg() can carry it together with the descriptor.
 * NGX_DECLINED: a value cannot be sent, and it was logged which.
 */

ngx_int_t
ngx_http_fd_pass_create_message(ngx_http_fd_pass_ctx_t *ctx)
{
    u_char                        *p;
    size_t                         len, early;
    ngx_buf_t                     *buf;
    ngx_int_t                      rc;
    ngx_str_t                      value;
    ngx_uint_t                     i;
    ngx_http_request_t            *r;
    ngx_http_fd_pass_header_t     *header;
    ngx_http_fd_pass_builder_t     b;
    ngx_http_fd_pass_main_conf_t  *fmcf;
    u_char                         digits[NGX_SIZE_T_LEN];

    r = ctx->request;
    fmcf = ngx_http_get_module_main_conf(r, ngx_http_fd_pass_module);

    b.request = r;
    b.failed = 0;

    if (ngx_array_init(&b.headers, r->pool, 32,
                       sizeof(ngx_http_fd_pass_header_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_fd_pass_evaluate_params(&b, ctx->conf->params);
    if (rc != NGX_OK) {
        return rc;
    }

    early = r->header_in->last - r->header_in->pos;

    value.data = digits;
    value.len = ngx_sprintf(digits, "%uz", early) - digits;
    ngx_http_fd_pass_add(&b, "CONTENT_LENGTH", &value);

    ngx_str_set(&value, "1+fd_pass");
    ngx_http_fd_pass_add(&b, "SCGI", &value);

    ngx_str_set(&value, "1");
    ngx_http_fd_pass_add(&b, "FD_PASS_VERSION", &value);

    /* in a partial handover the connection carries the client's bytes, to its end */

    ctx->keepalive = ctx->conf->keepalive > 0
                     && ctx->kind == NGX_HTTP_FD_PASS_FULL;

    if (ctx->keepalive) {
        ngx_http_fd_pass_add(&b, "FD_PASS_KEEPALIVE", &value);
    }

#if (NGX_HTTP_SSL)

    if (r->connection->ssl) {
        ngx_str_set(&value, "on");
        ngx_http_fd_pass_add(&b, "HTTPS", &value);

        value.len = 1;
        value.data = (u_char *) (ctx->kind == NGX_HTTP_FD_PASS_PARTIAL ? "0"
                                                                       : "1");
        ngx_http_fd_pass_add(&b, "KTLS_RX", &value);
    }

#endif

    ngx_http_fd_pass_add_indexed(&b, "REMOTE_ADDR", fmcf->remote_addr_index);
    ngx_http_fd_pass_add_indexed(&b, "REMOTE_PORT", fmcf->remote_port_index);
    ngx_http_fd_pass_add(&b, "REQUEST_METHOD", &r->method_name);
    ngx_http_fd_pass_add(&b, "REQUEST_URI", &r->unparsed_uri);
    ngx_http_fd_pass_add_indexed(&b, "SERVER_ADDR", fmcf->server_addr_index);
    ngx_http_fd_pass_add_indexed(&b, "SERVER_PORT", fmcf->server_port_index);
    ngx_http_fd_pass_add(&b, "QUERY_STRING", &r->args);
    ngx_http_fd_pass_add(&b, "SERVER_PROTOCOL", &r->http_protocol);
    ngx_http_fd_pass_add_indexed(&b, "REQUEST_SCHEME", fmcf->scheme_index);
    ngx_http_fd_pass_add_indexed(&b, "SERVER_NAME", fmcf->server_name_index);
    ngx_http_fd_pass_add_location(&b);

    header = b.params.elts;

    for (i = 0; i < b.params.nelts; i++) {
        ngx_http_fd_pass_push(&b, &header[i].name, &header[i].value);
    }

    ngx_http_fd_pass_add_fields(&b, ctx->conf->params);

    if (b.failed) {
        return NGX_ERROR;
    }

    header = b.headers.elts;
    len = 0;

    for (i = 0; i < b.headers.nelts; i++) {
        len += header[i].name.len + 1 + header[i].value.len + 1;
    }

    buf = ngx_create_temp_buf(r->pool, NGX_HTTP_FD_PASS_PREFIX_LEN + len
                                       + sizeof(",") - 1 + early);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(buf->last, "%uz:", len);

    for (i = 0; i < b.headers.nelts; i++) {
        p = ngx_cpymem(p, header[i].name.data, header[i].name.len);
        *p++ = '\0';
        p = ngx_cpymem(p, header[i].value.data, header[i].value.len);
        *p++ = '\0';
    }

    *p++ = ',';
    buf->last = ngx_cpymem(p, r->header_in->pos, early);

    ctx->message = buf;

    return NGX_OK;
}


static ngx_int_t
ngx_http_fd_pass_evaluate_params(ngx_http_fd_pass_builder_t *b,
    ngx_array_t *params)
{
    ngx_str_t                   value;
    ngx_uint_t                  i, n;
    ngx_http_fd_pass_param_t   *param;
    ngx_http_fd_pass_header_t  *header;

    n = params ? params->nelts : 0;
    param = params ? params->elts : NULL;

    if (ngx_array_init(&b->params, b->request->pool, n ? n : 1,
                       sizeof(ngx_http_fd_pass_header_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {

        if (ngx_http_complex_value(b->request, &param[i].value, &value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (value.len == 0 && param[i].if_not_empty) {
            continue;
        }

        if (ngx_strlchr(value.data, value.data + value.len, '\0')) {

            /* it would end the value and begin another header */

            ngx_log_error(NGX_LOG_ERR, b->request->connection->log, 0,
                          "the value of \"fd_pass_param\" \"%V\" has a zero "
                          "byte", &param[i].name);
            return NGX_DECLINED;
        }

        header = ngx_array_push(&b->params);
        if (header == NULL) {
            return NGX_ERROR;
        }

        header->name = param[i].name;
        header->value = value;
    }

    return NGX_OK;
}


/* adds one of the module's own headers, unless fd_pass_param has its name */

static void
ngx_http_fd_pass_add(ngx_http_fd_pass_builder_t *b, char *name,
    ngx_str_t *value)
{
    ngx_str_t                   own;
    ngx_uint_t                  i;
    ngx_http_fd_pass_header_t  *param;

    own.data = (u_char *) name;
    own.len = ngx_strlen(name);

    param = b->params.elts;

    for (i = 0; i < b->params.nelts; i++) {
        if (param[i].name.len == own.len
            && ngx_strncmp(param[i].name.data, own.data, own.len) == 0)
        {
            return;
        }
    }

    ngx_http_fd_pass_push(b, &own, value);
}


static void
ngx_http_fd_pass_add_indexed(ngx_http_fd_pass_builder_t *b, char *name,
    ngx_int_t index)
{
    ngx_str_t                   value;
    ngx_http_variable_value_t  *vv;

    vv = ngx_http_get_indexed_variable(b->request, index);

    if (vv == NULL) {
        b->failed = 1;
        return;
    }

    if (vv->not_found) {
        ngx_str_null(&value);

    } else {
        value.len = vv->len;
        value.data = vv->data;
    }

    ngx_http_fd_pass_add(b, name, &value);
}


static void
ngx_http_fd_pass_push(ngx_http_fd_pass_builder_t *b, ngx_str_t *name,
    ngx_str_t *value)
{
    ngx_http_fd_pass_header_t  *header;

    header = ngx_array_push(&b->headers);

    if (header == NULL) {
        b->failed = 1;
        return;
    }

    header->name = *name;
    header->value = *value;
}


/*
 * The prefix that requests on this connection may stay within.  A regex, an exact or a named location is none, and after a
 * rewrite the location says nothing about the target that the client asked for.
 */

static void
ngx_http_fd_pass_add_location(ngx_http_fd_pass_builder_t *b)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(b->request, ngx_http_core_module);

    if (clcf->name.len == 0
        || clcf->exact_match
        || clcf->named
        || clcf->noname
#if (NGX_PCRE)
        || clcf->regex
#endif
        || !b->request->valid_unparsed_uri)
    {
        return;
    }

    ngx_http_fd_pass_add(b, "FD_PASS_LOCATION", &clcf->name);
}


/* the request's own fields, each as often as the client sent it */

static void
ngx_http_fd_pass_add_fields(ngx_http_fd_pass_builder_t *b, ngx_array_t *params)
{
    ngx_int_t         rc;
    ngx_str_t         name;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *field;

    part = &b->request->headers_in.headers.part;
    field = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return;
            }

            part = part->next;
            field = part->elts;
            i = 0;
        }

        rc = ngx_http_fd_pass_field_name(b->request, &field[i].key, &name);

        if (rc == NGX_ERROR) {
            b->failed = 1;
            return;
        }

        /* what the operator sets, the client cannot */

        if (rc == NGX_DECLINED
            || ngx_http_fd_pass_has_param(params, &name))
        {
            continue;
        }

        ngx_http_fd_pass_push(b, &name, &field[i].value);
    }
}


/* NGX_DECLINED: a field that has no name in SCGI ("ignore_invalid_headers off") */

static ngx_int_t
ngx_http_fd_pass_field_name(ngx_http_request_t *r, ngx_str_t *field,
    ngx_str_t *name)
{
    u_char      ch, *p;
    ngx_uint_t  i;

    p = ngx_pnalloc(r->pool, sizeof("HTTP_") - 1 + field->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    name->data = p;
    p = ngx_cpymem(p, "HTTP_", sizeof("HTTP_") - 1);

    for (i = 0; i < field->len; i++) {
        ch = field->data[i];

        if (ch >= 'a' && ch <= 'z') {
            ch &= ~0x20;

        } else if (ch == '-') {
            ch = '_';

        } else if (!((ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9')
                     || ch == '_'))
        {
            ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                          "fd_pass leaves out the field \"%V\", whose name "
                          "SCGI cannot carry", field);
            return NGX_DECLINED;
        }

        *p++ = ch;
    }

    name->len = p - name->data;

    /*
     * "Content_Length" ("underscores_in_headers on") is just any field to nginx and to a proxy before it, and would frame the
     * request for the backend.
     */

    if (ngx_strlchr(field->data, field->data + field->len, '_')
        && ngx_http_fd_pass_is_reserved(name))
    {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "fd_pass leaves out the field \"%V\", which SCGI could "
                      "not tell from another one", field);
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_fd_pass_is_reserved(ngx_str_t *name)
{
    ngx_str_t  *reserved;

    for (reserved = ngx_http_fd_pass_reserved; reserved->len; reserved++) {
        if (reserved->len == name->len
            && ngx_strncmp(reserved->data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_fd_pass_has_param(ngx_array_t *params, ngx_str_t *name)
{
    ngx_uint_t                 i;
    ngx_http_fd_pass_param_t  *param;

    if (params == NULL) {
        return 0;
    }

    param = params->elts;

    for (i = 0; i < params->nelts; i++) {
        if (param[i].name.len == name->len
            && ngx_strncmp(param[i].name.data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}
