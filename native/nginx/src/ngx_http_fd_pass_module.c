
/*
 * The fd_pass module: its directives and their inheritance.
 */


#include "ngx_http_fd_pass_module.h"


static ngx_int_t ngx_http_fd_pass_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_fd_pass_check_fallbacks(ngx_conf_t *cf);
static void *ngx_http_fd_pass_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_fd_pass_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_fd_pass_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_fd_pass_fallback(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_conf_num_bounds_t  ngx_http_fd_pass_keepalive_bounds = {
    ngx_conf_check_num_bounds, 0, 1024
};


static ngx_conf_num_bounds_t  ngx_http_fd_pass_handovers_bounds = {
    ngx_conf_check_num_bounds, 1, -1
};


static ngx_command_t  ngx_http_fd_pass_commands[] = {

    { ngx_string("fd_pass"),
      NGX_HTTP_LOC_CONF|NGX_HTTP_LIF_CONF|NGX_CONF_TAKE1,
      ngx_http_fd_pass,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fd_pass_fallback"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_HTTP_LIF_CONF
                        |NGX_CONF_TAKE1,
      ngx_http_fd_pass_fallback,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fd_pass_param"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE23,
      ngx_http_fd_pass_param,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("fd_pass_send_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fd_pass_loc_conf_t, send_timeout),
      NULL },

    { ngx_string("fd_pass_next_tries"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fd_pass_loc_conf_t, next_tries),
      NULL },

    { ngx_string("fd_pass_next_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fd_pass_loc_conf_t, next_timeout),
      NULL },

    { ngx_string("fd_pass_idle_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fd_pass_loc_conf_t, idle_timeout),
      NULL },

    { ngx_string("fd_pass_keepalive"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fd_pass_loc_conf_t, keepalive),
      &ngx_http_fd_pass_keepalive_bounds },

    { ngx_string("fd_pass_keepalive_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fd_pass_loc_conf_t, keepalive_timeout),
      NULL },

    { ngx_string("fd_pass_keepalive_handovers"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fd_pass_loc_conf_t, keepalive_handovers),
      &ngx_http_fd_pass_handovers_bounds },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_fd_pass_module_ctx = {
    ngx_http_fd_pass_add_variables,        /* preconfiguration */
    ngx_http_fd_pass_postconfiguration,    /* postconfiguration */

    ngx_http_fd_pass_create_main_conf,     /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_fd_pass_create_loc_conf,      /* create location configuration */
    ngx_http_fd_pass_merge_loc_conf        /* merge location configuration */
};


ngx_module_t  ngx_http_fd_pass_module = {
    NGX_MODULE_V1,
    &ngx_http_fd_pass_module_ctx,          /* module context */
    ngx_http_fd_pass_commands,             /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_fd_pass_init_process,         /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_fd_pass_postconfiguration(ngx_conf_t *cf)
{
    if (ngx_http_fd_pass_message_variables(cf) != NGX_OK
        || ngx_http_fd_pass_check_targets(cf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_fd_pass_check_fallbacks(cf);
}


/* nginx would find out about a missing one with the first request that needs it */

static ngx_int_t
ngx_http_fd_pass_check_fallbacks(ngx_conf_t *cf)
{
    ngx_uint_t                      i;
    ngx_http_core_loc_conf_t      **named;
    ngx_http_fd_pass_fallback_t    *fallback;
    ngx_http_fd_pass_main_conf_t   *fmcf;

    fmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_fd_pass_module);
    fallback = fmcf->fallbacks.elts;

    for (i = 0; i < fmcf->fallbacks.nelts; i++) {

        named = fallback[i].server->named_locations;

        while (named && *named) {
            if ((*named)->name.len == fallback[i].name.len
                && ngx_strncmp((*named)->name.data, fallback[i].name.data,
                               fallback[i].name.len)
                   == 0)
            {
                break;
            }

            named++;
        }

        if (named == NULL || *named == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"fd_pass_fallback\" names \"%V\", and the server "
                          "has no such named location in %s:%ui",
                          &fallback[i].name, fallback[i].file,
                          fallback[i].line);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void *
ngx_http_fd_pass_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_fd_pass_main_conf_t  *fmcf;

    fmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_fd_pass_main_conf_t));
    if (fmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&fmcf->fallbacks, cf->pool, 4,
                       sizeof(ngx_http_fd_pass_fallback_t))
        != NGX_OK
        || ngx_array_init(&fmcf->targets, cf->pool, 4,
                          sizeof(ngx_http_fd_pass_target_t))
           != NGX_OK)
    {
        return NULL;
    }

    return fmcf;
}


static void *
ngx_http_fd_pass_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_fd_pass_loc_conf_t  *conf;

    /* zeroed by ngx_pcalloc(): upstream, target, fallback */
    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_fd_pass_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->params = NGX_CONF_UNSET_PTR;
    conf->send_timeout = NGX_CONF_UNSET_MSEC;
    conf->next_tries = NGX_CONF_UNSET_UINT;
    conf->next_timeout = NGX_CONF_UNSET_MSEC;
    conf->idle_timeout = NGX_CONF_UNSET_MSEC;
    conf->keepalive = NGX_CONF_UNSET_UINT;
    conf->keepalive_timeout = NGX_CONF_UNSET_MSEC;
    conf->keepalive_handovers = NGX_CONF_UNSET_UINT;

    return conf;
}


static char *
ngx_http_fd_pass_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_fd_pass_loc_conf_t  *prev = parent;
    ngx_http_fd_pass_loc_conf_t  *conf = child;

    ngx_http_core_loc_conf_t     *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /* "if" and "limit_except" go on with the target of their location */

    if (clcf->noname && conf->upstream == NULL && conf->target == NULL) {
        conf->upstream = prev->upstream;
        conf->target = prev->target;
    }

    /* a request in an "if" keeps the handler of the location, one in a "limit_except" does not */

    if (clcf->lmt_excpt && clcf->handler == NULL
        && (conf->upstream || conf->target))
    {
        clcf->handler = ngx_http_fd_pass_handler;
    }

    ngx_conf_merge_str_value(conf->fallback, prev->fallback, "");
    ngx_conf_merge_ptr_value(conf->params, prev->params, NULL);
    ngx_conf_merge_msec_value(conf->send_timeout, prev->send_timeout, 60000);
    ngx_conf_merge_uint_value(conf->next_tries, prev->next_tries, 0);
    ngx_conf_merge_msec_value(conf->next_timeout, prev->next_timeout, 0);
    ngx_conf_merge_msec_value(conf->idle_timeout, prev->idle_timeout, 3600000);
    ngx_conf_merge_uint_value(conf->keepalive, prev->keepalive, 0);
    ngx_conf_merge_msec_value(conf->keepalive_timeout, prev->keepalive_timeout,
                              60000);
    ngx_conf_merge_uint_value(conf->keepalive_handovers,
                              prev->keepalive_handovers, 10000);

    return NGX_CONF_OK;
}


static char *
ngx_http_fd_pass_fallback(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fd_pass_loc_conf_t  *flcf = conf;

    ngx_str_t                     *value;
    ngx_http_fd_pass_fallback_t   *fallback;
    ngx_http_fd_pass_main_conf_t  *fmcf;

    if (flcf->fallback.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len < 2 || value[1].data[0] != '@') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is not a named location, such as \"@relay\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    flcf->fallback = value[1];

    if (cf->cmd_type == NGX_HTTP_MAIN_CONF) {

        /* it counts in servers that are not known yet */

        return NGX_CONF_OK;
    }

    fmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_fd_pass_module);

    fallback = ngx_array_push(&fmcf->fallbacks);
    if (fallback == NULL) {
        return NGX_CONF_ERROR;
    }

    fallback->name = value[1];
    fallback->server = ngx_http_conf_get_module_srv_conf(cf,
                                                         ngx_http_core_module);
    fallback->file = cf->conf_file->file.name.data;
    fallback->line = cf->conf_file->line;

    return NGX_CONF_OK;
}
